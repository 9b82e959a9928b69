from django.db import migrations, models

from shop.database.operations import AddIndexLive


class Migration(migrations.Migration):

    # The table may be big, and people are buying meanwhile.
    atomic = False

    dependencies = [
        ('shop', '0003_sinks'),
    ]

    operations = [
        AddIndexLive(
            model_name='event',
            index=models.Index(condition=models.Q(('pending', True)), fields=['id'], name='event_pending'),
        ),
    ]

from django.db import migrations, models

from shop.database.operations import AddIndexLive


class Migration(migrations.Migration):

    # The table may be big, and jobs are added meanwhile.
    atomic = False

    dependencies = [
        ('shop', '0005_jobs_alive'),
    ]

    operations = [
        AddIndexLive(
            model_name='job',
            index=models.Index(condition=models.Q(('state', 'queued')), fields=['queue', 'due_at', 'id'], name='job_queue_due'),
        ),
        AddIndexLive(
            model_name='job',
            index=models.Index(condition=models.Q(('state', 'running')), fields=['lease_until'], name='job_running_lease'),
        ),
        migrations.RemoveIndex(
            model_name='job',
            name='job_queued_due',
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shop', '0004_pending'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='job',
            name='job_state_valid',
        ),
        migrations.AddField(
            model_name='job',
            name='cancel_requested',
            field=models.BooleanField(db_default=False, default=False, verbose_name='cancel requested'),
        ),
        migrations.AddField(
            model_name='job',
            name='claim',
            field=models.UUIDField(blank=True, editable=False, null=True, verbose_name='claim'),
        ),
        migrations.AddField(
            model_name='job',
            name='lease_until',
            field=models.DateTimeField(blank=True, null=True, verbose_name='lease until'),
        ),
        migrations.AddField(
            model_name='job',
            name='phase',
            field=models.CharField(blank=True, db_default='', default='', max_length=100, verbose_name='phase'),
        ),
        migrations.AddField(
            model_name='job',
            name='progress',
            field=models.FloatField(db_default=0, default=0, verbose_name='progress'),
        ),
        migrations.AddField(
            model_name='job',
            name='queue',
            field=models.CharField(choices=[('default', 'default'), ('long', 'long')], db_default='default', default='default', max_length=10, verbose_name='queue'),
        ),
        migrations.AlterField(
            model_name='job',
            name='state',
            field=models.CharField(choices=[('queued', 'queued'), ('running', 'running'), ('failed', 'failed'), ('finished', 'finished'), ('cancelled', 'cancelled')], default='queued', max_length=10, verbose_name='state'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['queued', 'running', 'failed', 'finished', 'cancelled'])), name='job_state_valid'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('queue__in', ['default', 'long'])), name='job_queue_valid'),
        ),
    ]

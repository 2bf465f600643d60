"""Create the inbox's table."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="InboxRow",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("step", models.CharField(blank=True, default="", max_length=64)),
                ("fence", models.BigIntegerField()),
                ("done", models.BooleanField(default=False)),
                ("result", models.BinaryField(null=True)),
                ("claimed_at", models.DateTimeField(db_index=True)),
            ],
            options={"db_table": "reliq_inbox"},
        ),
        migrations.AddConstraint(
            model_name="inboxrow",
            constraint=models.UniqueConstraint(fields=("key", "step"), name="reliq_inbox_key_step"),
        ),
    )

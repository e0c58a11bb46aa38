"""Django: migrations of its own apps, the ORM, a savepoint."""
import os
import urllib.parse
import django
from django.conf import settings

url = urllib.parse.urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "HOST": url.hostname, "PORT": url.port,
        "USER": urllib.parse.unquote(url.username), "PASSWORD": urllib.parse.unquote(url.password),
        "NAME": urllib.parse.unquote(url.path[1:]),
    }},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
from django.core.management import call_command  # noqa: E402
from django.db import transaction, IntegrityError  # noqa: E402
from django.contrib.auth.models import Group  # noqa: E402

call_command("migrate", verbosity=0)
Group.objects.all().delete()
with transaction.atomic():
    Group.objects.create(name="readers")
    try:
        with transaction.atomic():
            Group.objects.create(name="readers")
    except IntegrityError:
        pass
    else:
        raise AssertionError("the duplicate was accepted")
assert list(Group.objects.values_list("name", flat=True)) == ["readers"]
assert Group.objects.filter(name__icontains="READ").exists()
print("django ok")

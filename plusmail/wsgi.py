"""The WSGI entry point, for gunicorn."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "plusmail.settings")

application = get_wsgi_application()

# What is loaded by now stays. Without this the garbage collector looks through all of it
# about once in a hundred pages, for as long as three pages take.
get_resolver().url_patterns  # noqa: B018 (loads the views)
gc.collect()
gc.freeze()

"""Every setting of the project, in one file.

The environment is read here and nowhere else. With no environment at all the
shop runs embedded: SQLite, no cache server, a broker made of files. Three
variables grow it onto servers, in any mix: ``DATABASE_URL``, ``REDIS_URL``,
``CELERY_BROKER_URL``. The table of all variables is in ``docs/settings.md``.
"""

import os
import tempfile
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from kombu import Exchange, Queue

# --- The environment -------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be a yes or a no, not {value!r}.")


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    try:
        number = int(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if number < 0:
        raise ImproperlyConfigured(f"{name} can't be negative.")
    return number


def _words(name: str, default: str = "") -> list[str]:
    return [word for word in os.environ.get(name, default).replace(",", " ").split() if word]


SHOP_ENV = os.environ.get("SHOP_ENV", "local")
if SHOP_ENV not in {"local", "production"}:
    raise ImproperlyConfigured(f"SHOP_ENV must be local or production, not {SHOP_ENV!r}.")
PRODUCTION = SHOP_ENV == "production"

DATA_DIR = Path(os.environ.get("DATA_DIR") or BASE_DIR / "var").resolve()
DATABASE_URL = os.environ.get("DATABASE_URL", "")
REDIS_URL = os.environ.get("REDIS_URL", "")
BROKER_URL = os.environ.get("CELERY_BROKER_URL", "")
DATA_DIR.mkdir(parents=True, exist_ok=True)


def _local_secret_key() -> str:
    """Make the key on first use; of several processes that do so at once, one's is kept."""
    path = DATA_DIR / "secret_key"
    if not path.exists():
        # Written beside it first: nobody ever reads half a key.
        descriptor, draft = tempfile.mkstemp(dir=DATA_DIR)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(get_random_secret_key())
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.unlink(draft)
    return path.read_text()


SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if PRODUCTION:
        raise ImproperlyConfigured("SHOP_ENV=production needs SECRET_KEY.")
    SECRET_KEY = _local_secret_key()
SECRET_KEY_FALLBACKS = _words("SECRET_KEY_FALLBACKS")

# --- The shop --------------------------------------------------------------

SHOP_NAME = os.environ.get("SHOP_NAME", "Shop")
CURRENCY = os.environ.get("CURRENCY", "KRW")
# In minor units of CURRENCY. Shipping is free from FREE_SHIPPING_FROM on.
SHIPPING_FEE = _number("SHIPPING_FEE", 3000)
FREE_SHIPPING_FROM = _number("FREE_SHIPPING_FROM", 50000)
UNPAID_ORDER_HOURS = _number("UNPAID_ORDER_HOURS", 48)
# Whether buyers are told by mail of orders, shipments, cancellations and refunds.
ORDER_MAIL = _flag("ORDER_MAIL", True)
IDEMPOTENCY_HOURS = _number("IDEMPOTENCY_HOURS", 48)
JOB_HISTORY_DAYS = _number("JOB_HISTORY_DAYS", 14)
TOKEN_DAYS = _number("TOKEN_DAYS", 30)
# Where people reach the shop, for links in mails; none are written without it.
SHOP_URL = os.environ.get("SHOP_URL", "").rstrip("/")
# Who events say they come from: a URI, the `source` of a CloudEvent.
EVENT_SOURCE = os.environ.get("EVENT_SOURCE") or SHOP_URL or "urn:shop"

# Whose addresses a web process serves. Accounts, admin, health and metrics are
# everywhere.
SERVICES = frozenset(_words("SHOP_SERVICES", "products,orders,monitoring,benchmarks"))
if unknown := SERVICES - {"products", "orders", "monitoring", "benchmarks"}:
    raise ImproperlyConfigured(f"SHOP_SERVICES names no service: {', '.join(sorted(unknown))}.")

# --- The web process -------------------------------------------------------

DEBUG = _flag("DEBUG", False)
if DEBUG and PRODUCTION:
    raise ImproperlyConfigured("DEBUG has no place in production.")
ALLOWED_HOSTS = _words("ALLOWED_HOSTS", "" if PRODUCTION else "localhost 127.0.0.1 [::1]")
if PRODUCTION and not ALLOWED_HOSTS:
    raise ImproperlyConfigured("SHOP_ENV=production needs ALLOWED_HOSTS.")
CSRF_TRUSTED_ORIGINS = _words("CSRF_TRUSTED_ORIGINS")
# How many proxies of ours stand in front: that many entries at the right of
# X-Forwarded-For are believed, and X-Forwarded-Proto with them.
TRUSTED_PROXIES = _number("TRUSTED_PROXIES", 0)

# Where each process counts; read by whichever is asked for /metrics. One folder
# a host. prometheus_client takes it from the environment when it is imported.
METRICS_DIR = Path(os.environ.get("METRICS_DIR") or DATA_DIR / "metrics").resolve()
METRICS_DIR.mkdir(parents=True, exist_ok=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(METRICS_DIR)
os.environ["PROMETHEUS_DISABLE_CREATED_SERIES"] = "true"

# Whether alerts and webhooks may be sent to addresses inside our own network.
PRIVATE_TARGETS = _flag("PRIVATE_TARGETS", not PRODUCTION)

# Who may read /metrics.
METRICS_NETWORKS = [ip_network(net) for net in _words("METRICS_NETWORKS", "127.0.0.0/8 ::1")]

# shop/server.py: the one hop from ASGI to Django.
REQUEST_THREADS = _number("REQUEST_THREADS", 8)
REQUEST_QUEUE = _number("REQUEST_QUEUE", 1000)
REQUEST_TIMEOUT = _number("REQUEST_TIMEOUT", 30)
SHUTDOWN_TIMEOUT = _number("SHUTDOWN_TIMEOUT", 20)
STREAM_THREADS = _number("STREAM_THREADS", 4)
# Some 300 bytes a row: below STREAM_MAX_BYTES as CSV.
EXPORT_MAX_ROWS = _number("EXPORT_MAX_ROWS", 40_000)
# What a web process keeps of answers that are the same for all (shop/ready.py), and
# what the catalogue keeps of products that lists are put together from.
READY_ANSWERS_MB = _number("READY_ANSWERS_MB", 24)
FRAGMENTS_MB = _number("FRAGMENTS_MB", 8)
STREAM_MAX_BYTES = _number("STREAM_MAX_BYTES", 16 * 1024 * 1024)
BODY_MAX_BYTES = _number("BODY_MAX_BYTES", 10 * 1024 * 1024)

ROOT_URLCONF = "shop.urls"
ASGI_APPLICATION = "shop.asgi.application"
APPEND_SLASH = False

INSTALLED_APPS = [
    "shop.apps.BackOfficeConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "shop",
    "monitoring",
    "products",
    "orders",
    "benchmarks",
]

MIDDLEWARE = [
    "shop.middleware.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "shop.middleware.RefuseNul",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- The database ----------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        DATABASE_URL or f"sqlite:///{DATA_DIR / 'shop.sqlite3'}",
        conn_max_age=600,
        conn_health_checks=True,
    )
}
_database = DATABASES["default"]
_database.setdefault("OPTIONS", {})
if _database["ENGINE"] == "django.db.backends.sqlite3":
    _database["ENGINE"] = "shop.database.sqlite3"
    _database["OPTIONS"] |= {
        # A transaction that may write takes the write lock at its start, so
        # that it waits its turn instead of failing half way.
        "transaction_mode": "IMMEDIATE",
        # Seconds, for the writers of this process and those of others together.
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL;"
            "PRAGMA synchronous=NORMAL;"
            "PRAGMA cache_size=-16000;"
            "PRAGMA temp_store=MEMORY;"
        ),
    }
    # A file, not memory: tests meet the locks that the shop meets.
    _database["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database["ENGINE"] = "shop.database.postgresql"
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        # A database whose host has gone without a word is given up before the
        # request is (REQUEST_TIMEOUT); the system would wait for hours.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20000,
        # A request that is given up must not go on in the database.
        "options": (
            f"-c statement_timeout={_number('STATEMENT_TIMEOUT_MS', 30000)}"
            " -c lock_timeout=5000"
            " -c idle_in_transaction_session_timeout=60000"
        ),
    } | _database["OPTIONS"]
else:
    raise ImproperlyConfigured("DATABASE_URL must name PostgreSQL or SQLite.")

# --- Cache, sessions, broker -----------------------------------------------

# "shared" holds what several web processes can spare one another (shop.cache.Shared);
# one process alone keeps that itself.
if REDIS_URL:
    _redis: dict[str, Any] = {
        "BACKEND": "django_prometheus.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "shop",
    }
    _redis_options = {"SOCKET_CONNECT_TIMEOUT": 0.25, "SOCKET_TIMEOUT": 0.5}
    CACHES: dict[str, Any] = {
        # The database is the truth: a cache that is gone costs time, never an answer.
        "default": _redis
        | {
            "OPTIONS": {
                **_redis_options,
                "IGNORE_EXCEPTIONS": True,
                "LOG_IGNORED_EXCEPTIONS": True,
            }
        },
        "shared": _redis | {"KEY_PREFIX": "shop-shared", "OPTIONS": _redis_options},
    }
else:
    CACHES = {
        "default": {
            "BACKEND": "django_prometheus.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 20000},
        },
        "shared": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    }
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True

_EMBEDDED_BROKER = DATA_DIR / "broker"
CELERY_BROKER_URL = BROKER_URL or "filesystem://localhost"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if CELERY_BROKER_URL.startswith("filesystem:"):
    for _folder in ("messages", "control"):
        (_EMBEDDED_BROKER / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT = "shop.file_broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_EMBEDDED_BROKER / "messages"),
        "data_folder_out": str(_EMBEDDED_BROKER / "messages"),
        "control_folder": str(_EMBEDDED_BROKER / "control"),
    }
_QUEUE_ARGUMENTS: dict[str, Any] = {}
if CELERY_BROKER_URL.startswith(("amqp:", "amqps:", "pyamqp:")):
    # Queues that outlive a node of RabbitMQ, and messages that it has confirmed.
    _QUEUE_ARGUMENTS = {"x-queue-type": "quorum"}
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
CELERY_TASK_QUEUES = [
    Queue(name, Exchange(name), routing_key=name, queue_arguments=_QUEUE_ARGUMENTS)
    for name in ("jobs.default", "jobs.long")
]
CELERY_TASK_DEFAULT_QUEUE = "jobs.default"
CELERY_TASK_IGNORE_RESULT = True
# A message is confirmed when its task is done; each may be run twice.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 600
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Tasks are short, and with one's process would end the job that runs there.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "shop.jobs.clock:Clock"

# The layer only wakes who follows the event table; nothing is lost with it.
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "shop"},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}
# Open WebSockets: of one user, of one address, and in one process.
SOCKETS_PER_USER = _number("SOCKETS_PER_USER", 20)
SOCKETS_PER_ADDRESS = _number("SOCKETS_PER_ADDRESS", 100)
SOCKETS = _number("SOCKETS", 3000)
# Seconds after which a client that has said nothing, not even "ping", is let go.
SOCKET_IDLE = _number("SOCKET_IDLE", 300)

# --- People ----------------------------------------------------------------

AUTH_USER_MODEL = "shop.User"
AUTHENTICATION_BACKENDS = ["shop.accounts.backends.Backend"]
LOGIN_URL = "/accounts/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
] + [{"NAME": "shop.accounts.passwords.EndTokens"}]
# Files to look into, until a mail server is named.
EMAIL_BACKEND = os.environ.get("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_HOST = os.environ.get("EMAIL_HOST", "localhost")
EMAIL_PORT = _number("EMAIL_PORT", 25)
EMAIL_HOST_USER = os.environ.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _flag("EMAIL_USE_TLS", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("DEFAULT_FROM_EMAIL", "shop@localhost")

# Requests a second and the burst above it, per caller; sign-in tries a minute
# and mails with a reset link an hour, per address and name.
RATE_LIMITS = _flag("RATE_LIMITS", True)
RATE_LIMIT_USER = (_number("RATE_LIMIT_USER", 100), _number("RATE_LIMIT_USER_BURST", 300))
RATE_LIMIT_ANONYMOUS = (
    _number("RATE_LIMIT_ANONYMOUS", 50),
    _number("RATE_LIMIT_ANONYMOUS_BURST", 150),
)
SIGN_IN_TRIES_PER_MINUTE = _number("SIGN_IN_TRIES_PER_MINUTE", 10)
RESETS_PER_HOUR = _number("RESETS_PER_HOUR", 10)

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
# Pages have the token in their forms; no script needs the cookie.
CSRF_COOKIE_HTTPONLY = True
if PRODUCTION:
    # A browser takes a cookie of such a name only over TLS and from this very
    # host, so no other host of the domain can plant one.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
SECURE_SSL_REDIRECT = _flag("SECURE_SSL_REDIRECT", PRODUCTION)
# Health checks come from inside, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^health(/live|/ready)?$", r"^metrics$"]
SECURE_HSTS_SECONDS = _number("SECURE_HSTS_SECONDS", 31536000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "shop.errors.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "shop.errors.WithoutAddresses"

# --- Language, time, files -------------------------------------------------

LANGUAGE_CODE = os.environ.get("LANGUAGE_CODE", "en")
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["shop.formats"]
# Large numbers are read in groups; forms and addresses have them without.
USE_THOUSAND_SEPARATOR = True
# What was chosen on a page; without it the browser's own languages count.
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = PRODUCTION
TIME_ZONE = os.environ.get("TIME_ZONE", "Asia/Seoul")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
# Only production collects its files, so only there is a folder of them.
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
# Production collects and fingerprints; elsewhere files are served from where
# they lie, so that a fresh clone needs no extra step.
WHITENOISE_USE_FINDERS = not PRODUCTION
# Uploads. MEDIA_URL may be another host's, which then serves the folder.
MEDIA_ROOT = Path(os.environ.get("MEDIA_ROOT") or DATA_DIR / "media").resolve()
MEDIA_URL = os.environ.get("MEDIA_URL", "media/")
IMAGE_MAX_BYTES = _number("IMAGE_MAX_BYTES", 8 * 1024 * 1024)
IMAGE_MAX_PIXELS = _number("IMAGE_MAX_PIXELS", 25_000_000)
IMAGES_PER_PRODUCT = _number("IMAGES_PER_PRODUCT", 20)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "whitenoise.storage.CompressedManifestStaticFilesStorage"
            if PRODUCTION
            else "django.contrib.staticfiles.storage.StaticFilesStorage"
        )
    },
}
# Django's own cap on bodies it parses itself; the hop enforces the same one.
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_MAX_BYTES

# --- The API ---------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "shop.accounts.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["shop.rest.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["shop.rest.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["shop.accounts.throttles.CallerThrottle"],
    "DEFAULT_SCHEMA_CLASS": "shop.schema.ShopSchema",
    "EXCEPTION_HANDLER": "shop.errors.handle_exception",
    # `?format=` belongs to the exports.
    "URL_FORMAT_OVERRIDE": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": f"{SHOP_NAME} API",
    "DESCRIPTION": "Catalogue, stock and orders of one shop.",
    "VERSION": "2",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": r"/api/v[0-9]",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "StatusEnum": "orders.states.Status.choices",
        "ReasonEnum": "products.models.Reason.choices",
        "AlertStateEnum": [(state, state) for state in ("ok", "pending", "firing", "resolved")],
        "RunStateEnum": [
            (state, state) for state in ("queued", "running", "finished", "failed", "cancelled")
        ],
        "PaymentStateEnum": [("due", "due"), ("settled", "settled")],
        "PaymentMethodEnum": [
            (way, way.replace("_", " "))
            for way in ("card", "bank_transfer", "virtual_account", "cash", "other")
        ],
        "TextMethodEnum": [(way, way) for way in ("rule", "template", "extraction")],
        "ImageStateEnum": [("pending", "pending"), ("ready", "ready")],
    },
    "PREPROCESSING_HOOKS": ["shop.schema.only_v2"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "shop.schema.add_components",
    ],
}

# --- Logs ------------------------------------------------------------------

LOG_LEVEL = os.environ.get("LOG_LEVEL", "INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "monitoring.logs.JSONFormatter"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json"},
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # Django's own request log repeats what the request layer writes.
        "django.request": {"level": "ERROR"},
        "django.server": {"handlers": [], "level": "ERROR"},
        # Anybody can send any Host header, and is told 400.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "daphne": {"level": "WARNING"},
        # They log each address that they call, and a webhook's may be its key.
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker": {"level": "WARNING"},
        "celery.apps": {"level": "WARNING"},
    },
}

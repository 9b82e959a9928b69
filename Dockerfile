# One image for web, workers and clock; the command says which.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1
WORKDIR /app

COPY requirements.txt .
RUN pip install -r requirements.txt

COPY . .
# Static files are collected and fingerprinted once, not at each start. The key
# is for this step only.
RUN SHOP_ENV=production SECRET_KEY=build ALLOWED_HOSTS=build DATA_DIR=/tmp/build \
    python manage.py collectstatic --noinput && rm -rf /tmp/build

RUN useradd --create-home shop && mkdir /data && chown shop /data
USER shop
ENV DATA_DIR=/data SHOP_ENV=production
VOLUME /data
EXPOSE 8000
CMD ["granian", "--interface", "asgi", "--host", "0.0.0.0", "--port", "8000", "shop.asgi:application"]

"""Bearer tokens: made, listed, used, revoked."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from shop.accounts.models import AccessToken, User

pytestmark = pytest.mark.django_db


def sign_in(username="alice", password="secret", **more):
    return APIClient().post(
        "/api/v2/auth/tokens", {"username": username, "password": password, **more}
    )


def bearer(token):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_a_token_is_made_used_listed_and_revoked(alice):
    made = sign_in(name="phone")
    assert made.status_code == 201
    client = bearer(made.json()["token"])
    assert client.get("/api/v2/orders").status_code == 200

    listed = client.get("/api/v2/auth/tokens").json()["results"]
    assert [(row["id"], row["name"]) for row in listed] == [(made.json()["id"], "phone")]
    assert "token" not in listed[0]

    assert client.delete(f"/api/v2/auth/tokens/{made.json()['id']}").status_code == 204
    refused = client.get("/api/v2/orders")
    assert refused.status_code == 401
    assert refused["WWW-Authenticate"] == "Bearer"


def test_the_secret_is_not_stored(alice):
    secret = sign_in().json()["token"]
    row = AccessToken.objects.get()
    assert secret not in "".join(str(value) for value in vars(row).values())


@pytest.mark.parametrize(
    ("username", "password"), [("alice", "wrong"), ("nobody", "secret"), ("off", "secret")]
)
def test_wrong_credentials_all_get_one_answer(alice, username, password):
    User.objects.create_user("off", password="secret", is_active=False)
    response = sign_in(username, password)
    assert response.status_code == 401
    assert response.json()["code"] == "wrong_credentials"
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Bearer é", "Bearer a b", "bearer "])
def test_forged_tokens_are_401(alice, header):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=header)
    response = client.get("/api/v2/products")
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"


def test_expired_tokens_and_switched_off_users_are_401(alice):
    secret = sign_in().json()["token"]
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert bearer(secret).get("/api/v2/orders").status_code == 401
    AccessToken.objects.update(expires_at=timezone.now() + timedelta(days=1))
    assert bearer(secret).get("/api/v2/orders").status_code == 200
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert bearer(secret).get("/api/v2/orders").status_code == 401


def test_anothers_token_is_not_there(alice, bob):
    mine = sign_in().json()
    hers = bearer(sign_in("bob").json()["token"])
    assert hers.delete(f"/api/v2/auth/tokens/{mine['id']}").status_code == 404
    assert len(hers.get("/api/v2/auth/tokens").json()["results"]) == 1
    assert bearer(mine["token"]).get("/api/v2/orders").status_code == 200


def test_the_command_prints_the_token_as_its_last_word(alice, capsys):
    call_command("api_token", "alice")
    token = capsys.readouterr().out.split()[-1]
    assert bearer(token).get("/api/v2/orders").status_code == 200
    with pytest.raises(CommandError):
        call_command("api_token", "nobody")


def test_sign_in_tries_are_limited_by_name_and_by_address(alice, settings):
    settings.SIGN_IN_TRIES_PER_MINUTE = 3
    answers = [sign_in("alice", "wrong").status_code for _ in range(3)]
    assert answers == [401] * 3
    refused = sign_in("alice", "secret")
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert not AccessToken.objects.exists()


def test_the_sign_in_page_has_the_same_limit(alice, settings, client):
    settings.SIGN_IN_TRIES_PER_MINUTE = 2
    for _ in range(2):
        client.post("/accounts/login", {"username": "alice", "password": "wrong"})
    page = client.post("/accounts/login", {"username": "alice", "password": "secret"})
    assert page.status_code == 429
    assert 1 <= int(page["Retry-After"]) <= 60
    assert b"Too many tries" in page.content
    assert "_auth_user_id" not in client.session


def test_a_session_signs_in_and_its_writes_need_the_csrf_token(alice, make_product):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.get("/api/v2/orders").status_code == 200
    refused = client.post("/api/v2/orders", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")

"""What the settings decide by themselves."""

from shop import settings


def test_processes_that_start_together_share_one_secret_key(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    make = settings.get_random_secret_key
    seen = []

    def meanwhile():
        if not seen:
            # The rival starts in the very moment in which ours makes its key.
            seen.append("")
            seen[0] = settings._local_secret_key()
        return make()

    monkeypatch.setattr(settings, "get_random_secret_key", meanwhile)
    ours = settings._local_secret_key()

    assert len(ours) == 50
    assert seen == [ours]
    assert settings._local_secret_key() == ours
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0

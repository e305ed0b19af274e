"""A cache of its own for every test, and little patience."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from moon_zoo.data import fetch, streams
from moon_zoo.hub import stores
from tests.hub.making import make_hub
from tests.hub.server import HubServer, serving


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no hub and no token in the environment, and waits that suit a test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MOON_ZOO_CACHE", str(folder))
    for name in ("MOON_ZOO_HUB", "MOON_ZOO_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(streams, "TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(fetch, "PATIENCE", fetch.Patience(attempts=3, backoff_seconds=0.01))
    monkeypatch.setattr(stores, "PATIENCE_WITH_SMALL_FILES", fetch.Patience(attempts=2, backoff_seconds=0.01))
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The folder of a hub with one checkpoint."""
    make_hub(tmp_path / "hub")
    return tmp_path / "hub"


@pytest.fixture
def server(hub: Path) -> Iterator[HubServer]:
    """A web server over that hub."""
    with serving(hub) as running:
        yield running


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on an S3 server of this machine."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.mkdir("zoo")
    yield "s3://zoo/hub"
    fs.rm("zoo", recursive=True)
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()

"""Embedding with Ray Data: the same files as without it, on a local Ray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moon_zoo.data.embeddings import Embeddings
from moon_zoo.errors import DataError
from moon_zoo.models import pretrained
from moon_zoo.search.embedding import Settings, embed
from tests.conftest import make_product, write_products

SETTINGS = Settings(batch_size=4, num_workers=0, device="cpu")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    yield
    ray.shutdown()


@pytest.mark.usefixtures("local_ray")
def test_ray_writes_the_same_files_and_goes_on_with_those_that_are_there(
    tiny_checkpoint: Path, product_set: Path, search_set: Path, tmp_path: Path
) -> None:
    from moon_zoo.search.ray_embedding import embed_with_ray

    paths = [str(product_set), str(search_set)]
    embed(pretrained.load(tiny_checkpoint), paths, tmp_path / "plain", source=str(tiny_checkpoint), settings=SETTINGS)
    # As a killed run leaves it: some parts, no index.
    (tmp_path / "ray").mkdir()
    for number in (1, 4):
        name = f"part-{number:05d}.parquet"
        (tmp_path / "ray" / name).write_bytes((tmp_path / "plain" / name).read_bytes())
    told: list[int] = []
    report = embed_with_ray(
        str(tiny_checkpoint), paths, tmp_path / "ray", settings=SETTINGS, told=lambda done, total: told.append(done)
    )
    assert report.parts_kept == 2
    assert report.device == "1 x cpu (Ray)"
    assert len(told) == report.parts - 2
    plain, ray = Embeddings(tmp_path / "plain", verify=True), Embeddings(tmp_path / "ray", verify=True)
    assert plain.parts == ray.parts
    assert (tmp_path / "plain" / "embeddings.json").read_bytes() == (tmp_path / "ray" / "embeddings.json").read_bytes()


@pytest.mark.usefixtures("local_ray")
def test_an_actors_error_is_the_message_that_a_run_without_ray_gives(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from moon_zoo.search.ray_embedding import embed_with_ray

    shards = write_products(tmp_path / "set", 6, max_samples=2, photos=1)
    tar = shards / sorted(path.name for path in shards.glob("*.tar"))[1]
    photo = make_product(2, photos=1).photos[0]
    data = tar.read_bytes()
    assert photo in data
    tar.write_bytes(data.replace(photo, photo[:100] + bytes(len(photo) - 100)))
    with pytest.raises(DataError) as ours:
        embed_with_ray(str(tiny_checkpoint), [str(shards)], tmp_path / "ray", settings=SETTINGS)
    with pytest.raises(DataError) as theirs:
        embed(pretrained.load(tiny_checkpoint), [str(shards)], tmp_path / "e", source="tiny", settings=SETTINGS)
    assert str(ours.value) == str(theirs.value)


def test_without_ray_the_message_says_what_to_install(tiny_checkpoint: Path, item_set: Path, tmp_path: Path) -> None:
    program = "import sys; sys.modules['ray'] = None; from moon_zoo.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["embed", str(tiny_checkpoint), str(item_set), "--to", str(tmp_path / "e"), "--ray"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "moon-zoo[ray]"' in done.stderr
    assert "Traceback" not in done.stderr

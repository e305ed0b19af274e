"""Files are read below one root and never outside of it."""

import tarfile
from pathlib import Path

import pytest

from moon_zoo.errors import DataError
from moon_zoo.sources.tree import OutsideRootError, images, open_tree
from tests.sources.making import photo, write, write_tar

FILES = {"a/one.jpg": b"one", "a/b/two.PNG": b"two", "notes.txt": b"text", ".hidden/x.jpg": b"x", "a/._one.jpg": b"mac"}


@pytest.fixture(params=["folder", "tar", "tar.gz", "tar.xz"])
def tree(request, tmp_path: Path):
    if request.param == "folder":
        for name, content in FILES.items():
            write(tmp_path / "root" / name, content)
        return open_tree(tmp_path / "root")
    mode = "w" + request.param.removeprefix("tar").replace(".", ":")
    return open_tree(write_tar(tmp_path / f"root.{request.param}", FILES, mode))


def test_every_file_is_listed_and_read(tree):
    assert tree.names() == sorted(FILES)
    assert {name: tree.read(name) for name in tree.names()} == FILES
    assert tree.read("./a//one.jpg") == b"one"


def test_images_are_found_by_suffix_and_hidden_files_are_not(tree):
    assert list(images(tree)) == ["a/b/two.PNG", "a/one.jpg"]


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "", "a\0b"])
def test_paths_that_leave_the_root_are_refused(tree, path):
    with pytest.raises(OutsideRootError, match="does not stay below"):
        tree.read(path)
    with pytest.raises(OutsideRootError):
        tree.exists(path)


def test_a_missing_file_is_named(tree):
    assert not tree.exists("a/nine.jpg")
    with pytest.raises(DataError, match=r"cannot read a/nine\.jpg"):
        tree.read("a/nine.jpg")


def test_links_that_lead_outside_a_folder_are_refused_and_those_inside_are_followed(tmp_path: Path):
    root = tmp_path / "root"
    write(root / "real.jpg", b"inside")
    write(tmp_path / "secret.jpg", b"secret")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "in.jpg").symlink_to(root / "real.jpg")
    (root / "up").symlink_to(tmp_path)
    tree = open_tree(root)
    assert tree.read("in.jpg") == b"inside"
    for path in ("out.jpg", "up/secret.jpg"):
        with pytest.raises(OutsideRootError, match="leads outside"):
            tree.read(path)


def test_a_folder_beside_the_root_with_a_longer_name_is_outside(tmp_path: Path):
    write(tmp_path / "root" / "a.jpg", b"a")
    write(tmp_path / "root-private" / "b.jpg", b"b")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "root-private")
    with pytest.raises(OutsideRootError):
        open_tree(tmp_path / "root").read("link/b.jpg")


def test_links_and_climbing_members_of_a_tar_do_not_exist(tmp_path: Path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../up.jpg"))
        archive.addfile(tarfile.TarInfo("/root.jpg"))
        archive.addfile(tarfile.TarInfo("./fine.jpg"))
    assert open_tree(path).names() == ["fine.jpg"]


def test_a_tar_cut_short_is_a_data_error(tmp_path: Path):
    whole = write_tar(tmp_path / "whole.tar", {"a.jpg": photo(side=(200, 200)) * 9, "b.jpg": b"b" * 2000}).read_bytes()
    cut = write(tmp_path / "cut.tar", whole[:2500])
    with pytest.raises(DataError, match=r"tar"):
        open_tree(cut).read("a.jpg")


def test_a_root_that_is_missing_suggests_its_neighbour(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="does not exist") as caught:
        open_tree(tmp_path / "photo", "--photo-root")
    assert caught.value.suggestions == ("photos",)
    assert caught.value.change == "--photo-root"


def test_a_file_that_is_no_tar_is_no_root(tmp_path: Path):
    with pytest.raises(DataError, match="neither a folder nor a tar"):
        open_tree(write(tmp_path / "x.csv", "a,b\n1,2\n"))

"""A folder (or tar) with one folder of photos per class, the layout most classification sets are published in.

Every photo becomes a product of its own: its category is its class, its title the class's name in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from moon_zoo.data.kinds import Product
from moon_zoo.data.split_names import SPLIT_NAMES
from moon_zoo.data.wording import counted, first_few
from moon_zoo.errors import DataError, UsageError, did_you_mean
from moon_zoo.sources.base import Packed, PhotoSource
from moon_zoo.sources.keys import key_of, readable
from moon_zoo.sources.photos import PhotoReader
from moon_zoo.sources.splits import assign, parse_fractions, shuffled
from moon_zoo.sources.tree import images, open_tree

DEFAULT_FRACTIONS = "train=.8,val=.1,test=.1"


class ClassFoldersSource(PhotoSource):
    """A folder or tar of class folders: each photo a product, each folder a category.

    Folders named train, val, validation, valid, dev or test above the classes are the splits. Without them, photos are
    split by seeded fractions. Folders within a class folder become a longer category path.

    Args:
        path: The folder or tar.
        fractions: Splits and their fractions, such as train=.8,val=.1,test=.1 (what is used when there are no split
            folders). Given beside split folders, it replaces them.
        seed: Seed of the split and of the order of samples.
        photo_role: Whether the photos are clean catalogue photos or taken by a user.
        max_side: Shrink larger photos to this longest side in pixels; 0 keeps the files as they are.
        quality: JPEG quality of shrunk photos, 1 to 95.
        check_photos: Decode every photo once, so that a broken one is found now.
        on_error: raise, or skip to leave out photos that cannot be used, and count them.
        workers: Threads that read photos; all cores by default.
        licence: Licence of the data, kept in the manifest.
    """

    summary = "a folder or tar of class folders; each photo a product"
    kind = "product"
    example = "moon-zoo pack class_folders photos/ --photo-role user --to shards/photos"

    def __init__(
        self,
        path: Path,
        *,
        fractions: str | None = None,
        seed: int = 0,
        photo_role: str = "catalogue",
        max_side: int = 0,
        quality: int = 90,
        check_photos: bool = True,
        on_error: str = "raise",
        workers: int | None = None,
        licence: str = "not stated",
    ) -> None:
        self.fractions = None if fractions is None else parse_fractions(fractions)
        if photo_role not in Product.PHOTO_ROLES:
            raise UsageError(
                f"unknown photo role {photo_role!r}; roles are {', '.join(Product.PHOTO_ROLES)}",
                suggestions=did_you_mean(photo_role, Product.PHOTO_ROLES),
                change="--photo-role",
            )
        tree = open_tree(path)
        super().__init__(PhotoReader(tree, max_side, quality, check_photos), on_error=on_error, workers=workers)
        self.tree = tree
        self.seed = seed
        self.photo_role = photo_role
        self.licence = licence
        self.description = f"class folders of {Path(path).name}"

    def read(self) -> Iterator[Packed]:
        """Yield every photo as a product, in a seeded order."""
        folders = {name: PurePosixPath(name).parts[:-1] for name in images(self.tree)}
        depth = _split_depth(folders.values())
        photos = self._categories(folders, depth)
        splits = self._splits(folders, depth)
        stems = Counter(str(PurePosixPath(name).with_suffix("")) for name in photos)
        self.total = len(photos)

        def build(name: str) -> Packed:
            stem = str(PurePosixPath(name).with_suffix(""))
            item_id = stem if stems[stem] == 1 else name  # a.jpg beside a.png: the suffix tells them apart
            product = Product(
                item_id=item_id,
                title=readable(photos[name][-1], "_"),
                photos=[self.photos.read(name)],
                category=photos[name],
                photo_roles=[self.photo_role],
            )
            return splits[name], key_of(item_id), product

        yield from self.packed(build, shuffled(photos, self.seed))

    def _categories(self, folders: dict[str, tuple[str, ...]], depth: int | None) -> dict[str, tuple[str, ...]]:
        """Each photo to its category: the folders it lies in, without the split's and those above it."""
        if not folders:
            raise DataError(f"no photos (jpg, png or webp) in {self.tree.root}", change="path")
        categories = {name: parts[depth or 0 :] for name, parts in folders.items()}
        loose = [name for name, category in categories.items() if not category]
        if loose:
            raise DataError(
                f"{counted(loose, 'photo')} in no class folder: {first_few(loose)}",
                where=str(self.tree.root),
                change="the folders; the layout is CLASS/photo.jpg or SPLIT/CLASS/photo.jpg",
            )
        return categories

    def _splits(self, folders: dict[str, tuple[str, ...]], depth: int | None) -> dict[str, str]:
        if depth is not None and self.fractions is None:
            return {name: SPLIT_NAMES[parts[depth - 1].lower()] for name, parts in folders.items()}
        return assign(folders, self.fractions or parse_fractions(DEFAULT_FRACTIONS), self.seed)


def _split_depth(paths: Iterable[tuple[str, ...]]) -> int | None:
    """How deep the split folders lie: 1 at the root, 2 in one folder around them, None when there are none."""
    folders = list(paths)
    for depth in (1, 2):
        heads = {parts[depth - 1] if len(parts) >= depth else "" for parts in folders}
        if heads and all(head.lower() in SPLIT_NAMES for head in heads):
            return depth
        if len(heads) > 1:
            return None
    return None

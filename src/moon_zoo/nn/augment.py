"""Photo augmentation on the device, one batch at a time and one draw per photo.

Crops and flips belong to decoding (`moon_zoo.data.images`); what is left is arithmetic on pixels, which is cheapest on the
whole batch where the model runs. All draws come from torch's global generator, which is seeded anew before every training step
(`moon_zoo.models.base.ZooModule.on_train_batch_start`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LUMA = (0.299, 0.587, 0.114)


class PhotoAugment(nn.Module):
    """Colour jitter and random erasing, in training mode only.

    Args:
        brightness: Gain drawn from ``[1 - brightness, 1 + brightness]``.
        contrast: Contrast factor, the same way.
        saturation: Saturation factor, the same way.
        channel_gain: Independent gain per colour channel: colour casts of lamps.
        erase_probability: Chance that a rectangle of a photo is replaced by its mean colour.
        erase_area: Largest erased share of the photo's area.
        rotation: Largest rotation, in degrees, drawn from both directions; corners repeat the border.
    """

    def __init__(
        self,
        *,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        channel_gain: float = 0.0,
        erase_probability: float = 0.0,
        erase_area: float = 0.25,
        rotation: float = 0.0,
    ) -> None:
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.channel_gain = channel_gain
        self.erase_probability = erase_probability
        self.erase_area = erase_area
        self.rotation = rotation

    def forward(self, photos: Tensor) -> Tensor:
        """Augment photos in training mode, return them unchanged otherwise.

        Args:
            photos: uint8 or float in ``[0, 255]``, ``(batch, 3, height, width)``.

        Returns:
            Float in ``[0, 255]`` when training, ``(batch, 3, height, width)``.
        """
        if not self.training:
            return photos
        pixels = photos.float()
        if self.rotation:
            pixels = rotate(pixels, self.rotation)
        pixels = self._jitter(pixels)
        if self.erase_probability:
            pixels = erase(pixels, self.erase_probability, self.erase_area)
        return pixels

    def _jitter(self, pixels: Tensor) -> Tensor:
        batch = pixels.shape[0]
        gain = _factor(batch, 1, self.brightness, pixels) * _factor(batch, 3, self.channel_gain, pixels)
        pixels = pixels * gain
        luma = (pixels * pixels.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)  # (batch, 1, height, width)
        pixels = torch.lerp(luma.expand_as(pixels), pixels, _factor(batch, 1, self.saturation, pixels))
        grey = luma.mean((2, 3), keepdim=True)  # (batch, 1, 1, 1)
        pixels = torch.lerp(grey.expand_as(pixels), pixels, _factor(batch, 1, self.contrast, pixels))
        return pixels.clamp(0, 255)


def augmented_bytes(augment: nn.Module, photos: Tensor) -> Tensor:
    """Photos augmented, each by itself, and rounded to what they were.

    Args:
        augment: Such as `PhotoAugment`.
        photos: uint8 ``(..., 3, height, width)``.

    Returns:
        uint8 of the same shape.
    """
    return augment(photos.flatten(0, -4)).round().to(torch.uint8).view(photos.shape)


def erase(pixels: Tensor, probability: float, largest_area: float) -> Tensor:
    """Replace one rectangle of some photos by the photo's mean colour.

    Args:
        pixels: ``(batch, 3, height, width)``.
        probability: Chance per photo.
        largest_area: Largest share of the area; shares are drawn uniformly from ``[0.02, largest_area]``.
    """
    batch, _, height, width = pixels.shape
    draw = torch.rand(5, batch, device=pixels.device)
    area = 0.02 + draw[0] * (largest_area - 0.02)
    aspect = torch.exp((draw[1] * 2 - 1) * 0.8)
    half_height, half_width = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
    rows = (torch.arange(height, device=pixels.device) + 0.5) / height
    columns = (torch.arange(width, device=pixels.device) + 0.5) / width
    inside = ((rows - draw[2, :, None]).abs() < half_height[:, None])[:, :, None] & (
        (columns - draw[3, :, None]).abs() < half_width[:, None]
    )[:, None, :]  # (batch, height, width)
    inside &= (draw[4] < probability)[:, None, None]
    return torch.where(inside[:, None], pixels.mean((2, 3), keepdim=True), pixels)


def replace_white(photos: Tensor, backgrounds: Tensor, probability: float, threshold: int = 243) -> Tensor:
    """Put studio photos in front of other photos: what is nearly white shows the background instead.

    Bridges the gap between clean catalogue photos and those that customers take. White parts of a product become
    see-through as well, which is why only some photos are changed.

    Args:
        photos: uint8 or float in ``[0, 255]``, ``(batch, 3, height, width)``.
        backgrounds: Of the same shape.
        probability: Chance per photo.
        threshold: A pixel is background if all its channels are above this.

    Returns:
        Float in ``[0, 255]``, ``(batch, 3, height, width)``.
    """
    pixels = photos.float()
    product = (pixels.amin(1, keepdim=True) <= threshold).float()  # (batch, 1, height, width)
    # Grown by a pixel and softened, so that no white seam is left around the product.
    product = F.avg_pool2d(F.max_pool2d(product, 3, 1, 1), 3, 1, 1)
    chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < probability
    return torch.where(chosen, torch.lerp(backgrounds.float(), pixels, product), pixels)


def rotate(pixels: Tensor, degrees: float) -> Tensor:
    """Rotate each photo by an angle of its own, uniform in ``[-degrees, degrees]``.

    Args:
        pixels: Float, ``(batch, 3, height, width)``.
        degrees: Largest angle.
    """
    batch, _, height, width = pixels.shape
    angle = (torch.rand(batch, device=pixels.device) * 2 - 1) * (degrees * torch.pi / 180)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack(
        [
            torch.stack([cosine, -sine * height / width, zero], -1),
            torch.stack([sine * width / height, cosine, zero], -1),
        ],
        1,
    )  # (batch, 2, 3)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _factor(batch: int, channels: int, spread: float, like: Tensor) -> Tensor:
    return 1 + (torch.rand(batch, channels, 1, 1, device=like.device) * 2 - 1) * spread

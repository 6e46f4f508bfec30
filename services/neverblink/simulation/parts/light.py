"""What the camera would see of a surface: a ring light, a key light from the upper left, soft shadows."""

import cv2
import numpy as np

from neverblink.simulation.parts.surface import SCALE, Field, Surface

KEY = np.array((-0.50, -0.58, 0.643), np.float32)
"""Direction to the key light: from the upper left, about 40° above the conveyor."""
LAMPS = ((-260.0, -330.0, 400.0, 1.0), (330.0, 250.0, 420.0, 0.45))
"""Bar lights as they show on turned metal: x, y, z in image pixels, and strength."""
REACH = 20
"""How far a shadow or a shaded edge can fall, image pixels: lit again around every defect."""

_SHADOW_STEPS = 14
_ROUNDING = 0.45
"""No edge is sharper than this: standard deviation, image pixels."""
_AMBIENT, _DIRECT = 0.42, 0.74


def light(surface: Surface) -> Field:
    """Return the light that reaches the camera, (h, w, 3) float32, about 0 to 1, linear like a camera's."""
    height = surface.height
    rounded = cv2.GaussianBlur(height, (0, 0), _ROUNDING * SCALE)
    slope_x = cv2.Sobel(rounded, cv2.CV_32F, 1, 0, ksize=3, scale=SCALE / 8)
    slope_y = cv2.Sobel(rounded, cv2.CV_32F, 0, 1, ksize=3, scale=SCALE / 8)
    nz = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    nx, ny = -slope_x * nz, -slope_y * nz

    facing = np.maximum(nx * KEY[0] + ny * KEY[1] + nz * KEY[2], 0)
    direct = 1 - 0.75 * _shadow(height)
    around = cv2.GaussianBlur(height, (0, 0), 3 * SCALE)
    open_sky = 1 / (1 + np.maximum(around - height, 0) * np.float32(0.35))

    shine = _ring(nx, ny, nz, surface.rough) * open_sky * (0.35 + 0.65 * direct)
    if surface.turned.max() > 0.01:
        shine += surface.turned * (_tool_marks(surface, nx, ny, nz) * (0.4 + 0.6 * direct) * open_sky - shine)
    half = KEY + np.array((0, 0, 1), np.float32)
    half /= np.linalg.norm(half)
    glint = np.maximum(nx * half[0] + ny * half[1] + nz * half[2], 0) ** 40
    diffuse = (_AMBIENT * open_sky + _DIRECT * facing * direct) * (1 - surface.metal)
    gloss = (1 - surface.rough) * 0.5 * glint * direct * (1 - surface.metal)
    lit: Field = surface.colour * (diffuse + shine * surface.metal)[..., None] + gloss[..., None]
    return lit


def _shadow(height: Field) -> Field:
    """Return how much of the key light is hidden, 0 to 1, by marching towards it over the heights."""
    run = np.float32(np.hypot(KEY[0], KEY[1]))
    rise = KEY[2] / run
    hidden = np.zeros_like(height)
    for step in range(1, _SHADOW_STEPS + 1):
        shift = np.array([[1, 0, step * SCALE * KEY[0] / run], [0, 1, step * SCALE * KEY[1] / run]], np.float32)
        towards = cv2.warpAffine(
            height,
            shift,
            (height.shape[1], height.shape[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        np.maximum(hidden, towards - height - step * rise, out=hidden)
    return np.asarray(cv2.GaussianBlur(np.clip(hidden, 0, 1), (0, 0), 0.8 * SCALE), np.float32)


def _ring(nx: Field, ny: Field, nz: Field, rough: Field) -> Field:
    """Return what a mirror of this roughness reflects of the ring light and of the lamp beside the lens."""
    rx, ry, rz = 2 * nz * nx, 2 * nz * ny, 2 * nz * nz - 1
    away = np.hypot(rx, ry)
    towards_key = (rx * KEY[0] + ry * KEY[1]) / (away * np.float32(np.hypot(KEY[0], KEY[1])) + 1e-4)
    width = 0.14 + 0.5 * rough
    ring = np.exp(-(((away - 0.74) / width) ** 2)) * (0.42 + 0.58 * np.maximum(towards_key, 0))
    lens = np.exp(-((away / (0.22 + 0.4 * rough)) ** 2))
    seen: Field = 0.22 + (1.15 - 0.45 * rough) * ring + 0.38 * lens
    return seen * np.where(rz > 0, 1, 0.45).astype(np.float32)


def _tool_marks(surface: Surface, nx: Field, ny: Field, nz: Field) -> Field:
    """Return the streaks of bar lights on concentric tool marks: bright where light crosses the marks."""
    x, y = surface.x, surface.y
    radius = np.hypot(x, y) + 1e-3
    tx, ty = -y / radius, x / radius
    tz = -(nx * tx + ny * ty) / nz
    stretch = 1 / np.sqrt(1 + tz * tz)
    seen = np.full(radius.shape, 0.26, np.float32)
    for lamp_x, lamp_y, lamp_z, strength in LAMPS:
        lx, ly = lamp_x - x, lamp_y - y
        far = np.sqrt(lx * lx + ly * ly + lamp_z * lamp_z)
        hx, hy, hz = lx / far, ly / far, lamp_z / far + 1
        norm = np.sqrt(hx * hx + hy * hy + hz * hz)
        along = (tx * hx + ty * hy + tz * hz) / norm * stretch
        across = np.maximum((nx * hx + ny * hy + nz * hz) / norm, 0)
        seen += np.float32(strength * 0.66) * (1 - along * along) ** 18 * across
    return seen

"""Real spherical harmonics, their rotations, and their grids, as constants.

Shapes  E edges, K = (lmax+1)^2 coefficients, R of them with order |m| <= mmax, P grid points.
Layout  degree by degree: coefficient l^2 + l + m. The *order-first* layout of R holds m = 0 for
        all degrees, then +1 for all degrees, -1 for all degrees, +2, -2 and so on.
Axes    the polar axis is y and the azimuth starts at z, as in e3nn, so that degree 1 is (x, y, z).
Source  the factorisation D = J X(b) J X(c): Pinchon & Hoggan 2007, J. Phys. A 40, 1597; the
        quadrature on the sphere: Driscoll & Healy 1994 in the form of Kostelec & Rockmore 2008.

All tables are made in float64 and rounded once, so an encoder in float64 is exact to float64.
"""

import math
from functools import cache

import torch
from torch import Tensor


def coefficient_degrees(lmax: int) -> list[int]:
    """Return the degree of each of the (lmax+1)^2 coefficients."""
    return [degree for degree in range(lmax + 1) for _ in range(2 * degree + 1)]


def order_first(lmax: int, mmax: int) -> list[int]:
    """Return which coefficients the order-first layout keeps, in its order."""
    kept = [degree**2 + degree for degree in range(lmax + 1)]
    for m in range(1, mmax + 1):
        kept += [degree**2 + degree + m for degree in range(m, lmax + 1)]
        kept += [degree**2 + degree - m for degree in range(m, lmax + 1)]
    return kept


def truncation_scale(lmax: int, mmax: int) -> Tensor:
    """Return K factors that make up for the orders above ``mmax`` that an edge frame drops."""
    return torch.tensor(
        [
            math.sqrt((2 * degree + 1) / (2 * min(degree, mmax) + 1))
            for degree in coefficient_degrees(lmax)
        ],
        dtype=torch.float64,
    )


def spherical_harmonics(points_P3: Tensor, lmax: int) -> Tensor:
    """Return (P, K) real harmonics of unit vectors; their squares integrate to 1."""
    x_P, y_P, z_P = points_P3.double().unbind(-1)
    planes = torch.complex(z_P, x_P)  # sin(polar angle) times the azimuth's phase
    columns = []
    for degree in range(lmax + 1):
        for m in range(-degree, degree + 1):
            phase_P = planes ** abs(m)
            azimuth_P = phase_P.imag if m < 0 else phase_P.real
            columns.append(_legendre_part(degree, abs(m), y_P) * azimuth_P)
    return torch.stack(columns, dim=-1)


def _legendre_part(degree: int, m: int, y_P: Tensor) -> Tensor:
    """Return the normalised associated Legendre polynomial over sin^m, without Condon-Shortley."""
    below_P = torch.zeros_like(y_P)
    value_P = torch.full_like(y_P, math.prod(range(1, 2 * m, 2)))
    for n in range(m + 1, degree + 1):
        below_P, value_P = (
            value_P,
            ((2 * n - 1) * y_P * value_P - (n + m - 1) * below_P) / (n - m),
        )
    ratio = math.factorial(degree - m) / math.factorial(degree + m)
    return value_P * math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio * (2 if m else 1))


def _swap_matrix(degree: int) -> Tensor:
    """Return J: the half turn that exchanges x and y, as it acts on one degree."""
    generator = torch.Generator().manual_seed(degree)
    points_P3 = torch.randn(8 * (2 * degree + 1), 3, dtype=torch.float64, generator=generator)
    points_P3 = points_P3 / points_P3.norm(dim=1, keepdim=True)
    turned_P3 = torch.stack((points_P3[:, 1], points_P3[:, 0], -points_P3[:, 2]), dim=1)
    before = spherical_harmonics(points_P3, degree)[:, degree**2 :]
    after = spherical_harmonics(turned_P3, degree)[:, degree**2 :]
    swap: Tensor = torch.linalg.lstsq(before, after).solution.T
    return swap


@cache
def _tilt_table(lmax: int, mmax: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (2 lmax + 1, R K): J X(b) J as a linear form in 1, cos b..cos lb, sin b..sin lb."""
    # Made outside inference mode, because a cached inference tensor could never be trained through.
    with torch.inference_mode(False), torch.no_grad():
        n_coefficients = (lmax + 1) ** 2
        table = torch.zeros(2 * lmax + 1, n_coefficients, n_coefficients, dtype=torch.float64)
        for degree in range(lmax + 1):
            swap = _swap_matrix(degree)
            block = slice(degree**2, (degree + 1) ** 2)
            for row in range(2 * degree + 1):
                frequency = degree - row
                table[abs(frequency), block, block] += torch.outer(swap[:, row], swap[row])
                if frequency:
                    sine = math.copysign(1.0, frequency) * torch.outer(
                        swap[:, row], swap[2 * degree - row]
                    )
                    table[lmax + abs(frequency), block, block] += sine
        return table[:, order_first(lmax, mmax)].flatten(1).to(device, dtype)


@torch.no_grad()
def edge_rotations(vectors_E3: Tensor, lmax: int, mmax: int) -> Tensor:
    """Return (E, R, K) rotations of node coefficients into each edge's own frame, order-first.

    The frame's y axis lies along the edge. The remaining turn about the edge is free; it is fixed
    by leaving out the third Euler angle. An edge along y keeps the frame it is in.
    """
    unit_E3 = vectors_E3 / vectors_E3.norm(dim=1, keepdim=True)
    x_E, y_E, z_E = unit_E3.unbind(1)
    sine_E = torch.hypot(x_E, z_E)
    is_polar_E = sine_E == 0
    safe_E = torch.where(is_polar_E, torch.ones_like(sine_E), sine_E)
    turn_E = torch.complex(
        torch.where(is_polar_E, torch.ones_like(z_E), z_E / safe_E), -x_E / safe_E
    )
    tilt_EM = _powers(torch.complex(y_E, -sine_E), lmax)
    turn_EM = _powers(turn_E, lmax)
    features = torch.cat((tilt_EM.real, tilt_EM.imag[:, 1:]), dim=1)
    table = _tilt_table(lmax, mmax, features.dtype, features.device)
    n_coefficients = (lmax + 1) ** 2
    tilted_ERK = torch.unflatten(
        features @ table, 1, (table.shape[1] // n_coefficients, n_coefficients)
    )
    cosine_EK, sine_EK, mirror_K = _turn_columns(turn_EM, lmax)
    return tilted_ERK * cosine_EK[:, None] + tilted_ERK[:, :, mirror_K] * sine_EK[:, None]


def _powers(phase_E: Tensor, highest: int) -> Tensor:
    """Return (E, highest + 1) powers 0, 1, ... of each phase."""
    one_E1 = torch.ones_like(phase_E)[:, None]
    return torch.cat((one_E1, phase_E[:, None].expand(-1, highest)), dim=1).cumprod(1)


def _turn_columns(turn_EM: Tensor, lmax: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the diagonal and antidiagonal of X(c) by column, and each column's partner."""
    orders = [m for degree in range(lmax + 1) for m in range(-degree, degree + 1)]
    mirror = [
        degree**2 + degree - m for degree in range(lmax + 1) for m in range(-degree, degree + 1)
    ]
    device = turn_EM.device
    order_K = torch.tensor(orders, device=device)
    cosine_EK = turn_EM.real[:, order_K.abs()]
    sine_EK = turn_EM.imag[:, order_K.abs()] * order_K.sign()
    return cosine_EK, sine_EK, torch.tensor(mirror, device=device)


def _latitude_weights(n_latitudes: int) -> Tensor:
    """Return quadrature weights of equally spaced latitudes, which sum to 1 over the sphere."""
    half = n_latitudes // 2
    j = torch.arange(n_latitudes, dtype=torch.float64)[:, None]
    odd = 2 * torch.arange(half, dtype=torch.float64) + 1
    series = (torch.sin((2 * j + 1) * odd * math.pi / (4 * half)) / odd).sum(1)
    return torch.sin((2 * j[:, 0] + 1) * math.pi / (4 * half)) * series / half


@cache
def sphere_grid(
    lmax: int,
    mmax: int,
    resolution: int | None,
    dtype: torch.dtype,
    device: torch.device,
    by_order: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the matrices that turn coefficients into values on points of the sphere, and back.

    Args:
        lmax: Highest degree of the spherical harmonics.
        mmax: Highest order that is kept.
        resolution: Points along each angle; None takes the coarsest grid that represents the
            coefficients.
        dtype: Precision of the matrices; they are computed in float64.
        device: Device of the matrices.
        by_order: Whether the coefficients R run order first instead of degree by degree.

    Returns:
        The matrix (P, R) to the points and the matrix (R, P) from them.
    """
    with torch.inference_mode(False), torch.no_grad():
        n_latitudes = resolution or 2 * (lmax + 1)
        n_longitudes = resolution or 2 * mmax + (3 if lmax == mmax else 1)
        polar = (torch.arange(n_latitudes, dtype=torch.float64) + 0.5) / n_latitudes * math.pi
        azimuth = torch.arange(n_longitudes, dtype=torch.float64) / n_longitudes * 2 * math.pi
        points = torch.stack(
            (
                torch.outer(polar.sin(), azimuth.sin()),
                polar.cos()[:, None].expand(-1, n_longitudes),
                torch.outer(polar.sin(), azimuth.cos()),
            ),
            dim=-1,
        ).flatten(0, 1)
        harmonics_PK = spherical_harmonics(points, lmax)
        weight_P = (_latitude_weights(n_latitudes) / n_longitudes).repeat_interleave(n_longitudes)
        width_K = torch.tensor(coefficient_degrees(lmax), dtype=torch.float64).mul(2).add(1).sqrt()
        norm_K = width_K * math.sqrt((lmax + 1) / (4 * math.pi))
        scale_K = truncation_scale(lmax, mmax)
        to_PK = harmonics_PK / norm_K * scale_K
        from_KP = (harmonics_PK * norm_K * scale_K * weight_P[:, None] * 4 * math.pi).T
        kept = order_first(lmax, mmax)
        kept = kept if by_order else sorted(kept)
        return (
            to_PK[:, kept].contiguous().to(device, dtype),
            from_KP[kept].contiguous().to(device, dtype),
        )

"""MaskCut's normalised cuts on a device: the second eigenvector by Lanczos' method, which needs products alone.

::

    D^-1/2 A D^-1/2 x = (1 - lambda) x      the largest eigenvalue is 1, and its eigenvector is D^1/2 1, which is known

So that direction is left out, and the largest eigenvalue of the rest is looked for in the Krylov space of a fixed
start, in float64, with every vector made orthogonal to all before. A dense solver would factor a matrix of 3,600 x
3,600 patches; this multiplies it by some dozens of vectors.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NO_EDGE = 1e-5
_MOST_STEPS = 400
_LOOK_EVERY = 20
_TOLERANCE = 1e-9


class DeviceCuts:
    """The normalised cuts of one feature map, as :func:`ovdiff.proposals.maskcut.second_eigenvector` gives them."""

    def __init__(self, keys: Tensor, tau: float) -> None:
        """Use keys (h, w, D) on the device that computes; an edge is 1 if the cosine exceeds tau, and else nearly 0."""
        self._keys, self._tau = keys.flatten(0, 1).float(), tau

    def __call__(self, taken: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the second-smallest solution (h * w,) without the patches (h, w) that are taken.

        The largest absolute entry is positive.
        """
        gone = torch.from_numpy(taken.ravel()).to(self._keys.device)
        found = second_eigenvector(_graph(self._keys.masked_fill(gone[:, None], 0), self._tau))
        return found.cpu().numpy().astype(np.float32)


@torch.inference_mode()
def second_eigenvector(graph: Tensor) -> Tensor:
    """Return the second-smallest solution (n,) float64 of ``(D - A) x = lambda D x`` for a graph (n, n)."""
    root = graph.sum(dim=1, dtype=torch.float64).sqrt()
    scaled = graph.double() / (root[:, None] * root[None, :])
    solution = _largest_beside(scaled, root / root.norm()) / root
    return solution * torch.sign(solution[solution.abs().argmax()])


def _graph(vectors: Tensor, tau: float) -> Tensor:
    norms = vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)  # Patches that are taken are zero; so are their cosines.
    unit = vectors / norms
    return torch.where(unit @ unit.T > tau, 1.0, NO_EDGE)


def _largest_beside(matrix: Tensor, known: Tensor) -> Tensor:
    """Return the eigenvector of a symmetric matrix's largest eigenvalue, that of a known unit eigenvector left out."""
    size = len(matrix)
    if size == 1:
        return known
    start = torch.from_numpy(np.random.default_rng(0).standard_normal(size)).to(matrix)
    basis = torch.empty(min(_MOST_STEPS, size) + 1, size, dtype=matrix.dtype, device=matrix.device)
    basis[0] = known
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    vector = _orthogonal(start, basis[:1])
    for step in range(1, len(basis)):
        basis[step] = vector / vector.norm()
        product = matrix @ basis[step]
        diagonal.append(product @ basis[step])
        vector = _orthogonal(product, basis[: step + 1])
        beside.append(vector.norm())
        if step % _LOOK_EVERY == 0 or step == len(basis) - 1:
            small, last = _tridiagonal(diagonal, beside[:-1]), float(beside[-1])
            _, vectors = torch.linalg.eigh(small)
            best = vectors[:, -1]
            if abs(float(best[-1])) * last < _TOLERANCE or step == len(basis) - 1:
                return basis[1 : step + 1].T @ best.to(matrix.device)
        if float(beside[-1]) < _TOLERANCE:  # The Krylov space is whole: nothing new comes.
            _, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside[:-1]))
            return basis[1 : step + 1].T @ vectors[:, -1].to(matrix.device)
    raise AssertionError("the last step returns")


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """Take out of a vector what lies in the span of orthonormal rows; twice, for rounding."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _tridiagonal(diagonal: list[Tensor], beside: list[Tensor]) -> Tensor:
    """Return the symmetric matrix of Lanczos' coefficients, on the CPU: it is small."""
    small = torch.diag(torch.stack(diagonal).cpu())
    if beside:
        off = torch.stack(beside).cpu()
        small += torch.diag(off, 1) + torch.diag(off, -1)
    return small

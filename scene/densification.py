"""Where Gaussians are missing, and which are not needed: statistics, and one gather of rows.

Adaptive density control of Kerbl et al. 2023 (section 5.2), with two differences that animation asks for:
pruning looks at the *largest* opacity that any expression asked for since the last densification (teeth are
transparent while the mouth is shut), and the opacity reset acts on the decoded opacity through the
per-Gaussian logit offset.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from arguments import OptimizationParams
from scene.head_model import GaussianHead
from scene.optimization import HeadOptimizer
from utils.errors import UserError
from utils.rotations import quaternion_to_matrix, sample_unit_quaternions

RESET_OPACITY = 0.01
SPLIT_CHILDREN = 2
# Children are smaller than their parent by this factor.
SPLIT_SHRINK = 0.8 * SPLIT_CHILDREN
# Iterations without pruning after an opacity reset.
GRACE_AFTER_RESET = 100
# Share of the scene extent; larger Gaussians are pruned once opacities were reset.
WORLD_SIZE_LIMIT = 0.1
# Scene extents; what is larger, or farther away, went wrong.
HUGE = 100.0


@dataclass(frozen=True)
class Change:
    """What one densification did, in numbers of Gaussians."""

    num_cloned: int
    num_split: int
    num_pruned: int
    num_gaussians: int
    # Of the pruned ones.
    num_broken: int = 0


class DensificationStats:
    """What was seen of each Gaussian since the last densification: all [N]."""

    def __init__(self, num_gaussians: int, device: torch.device | str) -> None:
        # Of |d loss / d screen mean|, NDC units.
        self.gradient_sum = torch.zeros(num_gaussians, device=device)
        self.num_seen = torch.zeros(num_gaussians, device=device)
        # Pixels.
        self.max_radius = torch.zeros(num_gaussians, device=device)
        # Decoded, of any expression.
        self.max_opacity = torch.zeros(num_gaussians, device=device)

    @torch.no_grad()
    def observe_(self, radii: Tensor, grad_means2d: Tensor, opacities: Tensor) -> None:
        """Add rendered views: radii [V, N] pixels, gradients of the screen means [V, N, 2 or 3], decoded
        opacities [V, N]; V may be left out."""
        num = len(self.num_seen)
        norms = grad_means2d[..., :2].norm(dim=-1).view(-1, num)
        radii = radii.view(-1, num)
        # A view that went wrong was not seen.
        visible = (radii > 0) & norms.isfinite()
        self.gradient_sum += torch.where(visible, norms, 0).sum(dim=0)
        self.num_seen += visible.sum(dim=0)
        largest = radii.amax(dim=0).to(self.max_radius.dtype)
        torch.maximum(self.max_radius, largest, out=self.max_radius)
        # What is no number does not count.
        opacities = opacities.detach().view(-1, num)
        torch.maximum(self.max_opacity, opacities.nan_to_num(0).amax(dim=0), out=self.max_opacity)

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], device: torch.device | str) -> "DensificationStats":
        stats = cls(0, device)
        for name in vars(stats):
            setattr(stats, name, tensors[name].to(device))
        return stats


class Densifier:
    """Decides when and what, by the schedule of `params`; acts on the head through its optimizer.

    `extent` is the scene extent in world units. Split offsets come from `generator`.
    """

    def __init__(
        self, optimizer: HeadOptimizer, params: OptimizationParams, extent: float, generator: torch.Generator
    ) -> None:
        self.optimizer = optimizer
        self.head: GaussianHead = optimizer.head
        self.params = params
        self.extent = extent
        self.generator = generator
        self.stats = self._fresh_stats()
        self.last_reset: int | None = None
        # Gaussians that were pruned because they were not finite, or huge, so far in this process.
        self.num_broken = 0

    def observes(self, iteration: int) -> bool:
        """Whether views of this iteration count."""
        return iteration < self.params.densify_until_iter

    def densifies_at(self, iteration: int) -> bool:
        p = self.params
        is_in_window = p.densify_from_iter < iteration < p.densify_until_iter
        return is_in_window and iteration % p.densification_interval == 0

    def resets_at(self, iteration: int) -> bool:
        """Whether opacities are reset; not where no densification follows that could clear up."""
        p = self.params
        is_in_window = 0 < iteration < p.densify_until_iter - p.densification_interval
        return is_in_window and iteration % p.opacity_reset_interval == 0

    def step_(self, iteration: int) -> Change | None:
        """Do what the schedule asks for after the optimizer step of `iteration`."""
        change = self.densify_(iteration) if self.densifies_at(iteration) else None
        if self.resets_at(iteration):
            self.reset_opacity_(iteration)
        if change is not None:
            self.stats = self._fresh_stats()
        return change

    @torch.no_grad()
    def densify_(self, iteration: int) -> Change:
        """Clone, split and prune as one gather of rows. Statistics follow their Gaussians."""
        gaussians, stats, p = self.head.gaussians, self.stats, self.params
        largest_scale = gaussians.log_scale.amax(dim=1).exp()  # [N]
        is_broken = self._is_broken(largest_scale)
        is_needed = ~self._is_prunable(iteration, largest_scale) & ~is_broken
        if not is_needed.any():
            raise UserError(
                f"iteration {iteration}: no Gaussian is left that is visible and small enough, and "
                f"{int(is_broken.sum())} of {len(gaussians)} are not finite or huge; stopped, the last "
                "checkpoint stays; try --max_screen_size 0, a longer --opacity_reset_interval or lower "
                "learning rates"
            )
        wants_more = self._most_wanted(stats.gradient_sum / stats.num_seen.clamp_min(1), is_needed)
        is_large = largest_scale > p.percent_dense * self.extent
        is_split, is_cloned = wants_more & is_large, wants_more & ~is_large

        survivors = torch.nonzero(is_needed & ~is_split)[:, 0]
        clones = torch.nonzero(is_cloned)[:, 0]
        children = torch.nonzero(is_split)[:, 0].repeat(SPLIT_CHILDREN)
        rows = torch.cat([survivors, clones, children])  # [M]
        is_fresh = torch.arange(len(rows), device=rows.device) >= len(survivors)
        overrides = self._split_overrides(rows, num_children=len(children))
        if p.fresh_tau:
            overrides["tau"] = self._with_fresh_tau(rows, num_fresh=len(rows) - len(survivors))
        self.optimizer.gather_gaussians_(rows, is_fresh, overrides)
        for name, value in stats.tensors().items():
            setattr(stats, name, value[rows])
        num_broken = int(is_broken.sum())
        self.num_broken += num_broken
        num_pruned = int((~is_needed).sum())
        return Change(len(clones), int(is_split.sum()), num_pruned, len(gaussians), num_broken)

    @torch.no_grad()
    def remove_broken_(self) -> int:
        """Prune the Gaussians that are not finite, or huge, now; their number. If all are, none is pruned."""
        gaussians, stats = self.head.gaussians, self.stats
        is_broken = self._is_broken(gaussians.log_scale.amax(dim=1).exp())
        num_broken = int(is_broken.sum())
        if num_broken in (0, len(gaussians)):
            return 0
        rows = torch.nonzero(~is_broken)[:, 0]
        self.optimizer.gather_gaussians_(rows, torch.zeros_like(rows, dtype=torch.bool), {})
        for name, value in stats.tensors().items():
            setattr(stats, name, value[rows])
        self.num_broken += num_broken
        return num_broken

    @torch.no_grad()
    def reset_opacity_(self, iteration: int) -> None:
        """Lower every decoded opacity to at most RESET_OPACITY, for the expression that showed it most."""
        logit = torch.logit(self.stats.max_opacity, eps=1e-6)
        target = torch.logit(torch.tensor(RESET_OPACITY)).item()
        self.head.gaussians.opacity_offset.add_((target - logit).clamp_max(0))
        self.optimizer.forget_moments_("opacity_offset")
        self.last_reset = iteration

    def _is_broken(self, largest_scale: Tensor) -> Tensor:
        """Which Gaussians [N] have a number that is not finite, or are huge."""
        gaussians, limit = self.head.gaussians, HUGE * self.extent
        # False for what is no number, too.
        is_sound = (largest_scale < limit) & (gaussians.xyz.abs().amax(dim=1) < limit)
        for parameter in gaussians.parameters():
            is_sound &= (
                parameter.flatten(1).isfinite().all(dim=1) if parameter.dim() > 1 else parameter.isfinite()
            )
        return ~is_sound

    def _is_prunable(self, iteration: int, largest_scale: Tensor) -> Tensor:
        p, stats = self.params, self.stats
        if self.last_reset is not None and iteration - self.last_reset <= GRACE_AFTER_RESET:
            return torch.zeros_like(largest_scale, dtype=torch.bool)
        is_prunable = stats.max_opacity < p.min_opacity
        if self.last_reset is not None:
            # 0 is off.
            if p.max_screen_size:
                is_prunable |= stats.max_radius > p.max_screen_size
            is_prunable |= largest_scale > WORLD_SIZE_LIMIT * self.extent
        return is_prunable

    def _most_wanted(self, gradients: Tensor, is_needed: Tensor) -> Tensor:
        """Gaussians above the gradient threshold; under a limit on their number, those with the largest
        gradients."""
        p = self.params
        is_wanted = is_needed & (gradients >= p.densify_grad_threshold)
        if not p.max_gaussians:
            return is_wanted
        # A clone or a split adds one.
        budget = max(0, p.max_gaussians - int(is_needed.sum()))
        if int(is_wanted.sum()) <= budget:
            return is_wanted
        strongest = torch.where(is_wanted, gradients, -1.0).topk(budget).indices
        return torch.zeros_like(is_wanted).index_fill_(0, strongest, True)

    def _split_overrides(self, rows: Tensor, num_children: int) -> dict[str, Tensor]:
        """Children sit at places drawn from their parent's Gaussian and are smaller than it."""
        if not num_children:
            return {}
        gathered = {name: getattr(self.head.gaussians, name).detach()[rows] for name in ("xyz", "log_scale")}
        parents = rows[-num_children:]
        rotation = quaternion_to_matrix(self.head.gaussians.rotation.detach()[parents])  # [M', 3, 3]
        scale = self.head.gaussians.log_scale.detach()[parents].exp()
        noise = torch.randn(num_children, 3, generator=self.generator).to(scale.device)
        gathered["xyz"][-num_children:] += (rotation @ (scale * noise)[:, :, None])[:, :, 0]
        gathered["log_scale"][-num_children:] = (scale / SPLIT_SHRINK).log()
        return gathered

    def _with_fresh_tau(self, rows: Tensor, num_fresh: int) -> Tensor:
        """tau [M, K, 4] of `rows`, drawn anew for the last `num_fresh`."""
        tau = self.head.gaussians.tau.detach()[rows]
        num_derivations = tau.shape[1]
        drawn = sample_unit_quaternions(num_fresh * num_derivations, generator=self.generator)
        tau[len(rows) - num_fresh :] = drawn.view(num_fresh, num_derivations, 4).to(tau.device)
        return tau

    def _fresh_stats(self) -> DensificationStats:
        gaussians = self.head.gaussians
        return DensificationStats(len(gaussians), gaussians.xyz.device)

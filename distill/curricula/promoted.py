"""Every environment has a level of its own: up after a good episode, down after a bad one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..curriculum import Curriculum, Ended


class PromotedCurriculum(Curriculum):
    """The "game-inspired curriculum" of Rudin et al. 2022 (Learning to Walk in Minutes Using
    Massively Parallel Deep Reinforcement Learning; ``_update_terrain_curriculum`` of legged_gym),
    for any axes instead of terrain.

    As there a robot has its type of terrain, each environment has its axis, evenly, and a level of
    its own on it, from ``start`` on. With J_T the teacher's mean of its last episodes at that
    level (40, or ``window`` if that is more), an episode that earned J moves the environment

        up      where J - J_0 > bar (J_T - J_0): "more than half of the tile";
        down    where J - J_0 < fall_bar (J_T - J_0): "less than half of the distance commanded".

    Who goes up from the hardest level comes to a random one, which is all the replay there is. As
    everywhere, levels where the teacher itself fails are beyond the hardest, and the axes that are
    not on trial stay one level below their frontier: the median of what the student's environments
    have reached and not fallen from.

    Until ``teacher_least`` episodes of the teacher have ended at a level nobody leaves it. They are
    taken in the order in which they began: the first to end are those that end in a fall. The
    teacher's own environments move by the same rule, which takes them through all levels.
    """

    kinds: ClassVar[tuple[str, ...]] = ("promoted",)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        config, n = self.config, len(self.axis_of)
        self._axis = np.arange(n) % max(len(self.axes), 1)
        self._level = np.full(n, config.start)  # one above the hardest: comes to a random one
        self._reached = np.full(n, config.start)
        self._by_teacher = np.zeros(n, dtype=bool)  # whose last episode was the teacher's
        # Episodes of the teacher by axis and level that ended before one begun earlier has.
        self._waiting: list[list[list[Ended]]] = [
            [[] for _ in range(config.levels + 1)] for _ in self.axes
        ]

    def assign(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Difficulty of new episodes, (len(ids), axes) in [0, 1]."""
        n = len(ids)
        if not self.axes:
            return np.zeros((n, 0))
        top = np.array([self._top(axis) for axis in self.axes])
        axis = self._axis[ids]
        anywhere = np.floor(rng.random(n) * (top[axis] + 1)).astype(np.int64)
        own = np.where(self._level[ids] > top[axis], anywhere, self._level[ids])
        frontier = np.array([axis.frontier for axis in self.axes])
        others = frontier if self.finished else np.maximum(frontier - 1, 0)
        levels = np.tile(others, (n, 1))
        levels[np.arange(n), axis] = own
        self._level[ids] = self.frontier_of[ids] = own
        self.axis_of[ids] = axis
        self.order_of[ids] = self._begun + np.arange(n)
        self._begun += n
        return levels / self.config.levels

    def running(self) -> np.ndarray:
        """What every environment is running, (num_envs, 4): axis, level, order, its own number."""
        return np.column_stack([super().running(), np.arange(len(self.axis_of))])

    def record(self, began: np.ndarray, score: np.ndarray, by_teacher: np.ndarray) -> None:
        """Judge finished whole episodes; arguments as in ``Curriculum``, ``began`` (K, 4)."""
        ours, levels = self._assigned(began, score, by_teacher), self.config.levels
        if not ours.any():
            return
        self._by_teacher[began[ours, 3]] = by_teacher[ours]
        for axis, level in np.unique(began[ours, :2], axis=0).tolist():
            these = ours & (began[:, :2] == (axis, level)).all(axis=1)
            self._heed(axis, level, began[these & by_teacher, 2], score[these & by_teacher])
            moves = self._judge(axis, level, score[these], by_teacher[these])
            # The next episode has begun at the level of this one, before this one was judged.
            envs = began[these, 3]
            current = self._level[envs] == level
            envs, moves = envs[current], moves[current]
            self._level[envs] = level + moves
            reached = np.maximum(self._reached[envs], np.minimum(level + moves, levels))
            self._reached[envs] = np.where(moves < 0, level - 1, reached)

    def advance(self, fraction: float = 0.0) -> dict[str, int]:
        """Frontiers follow the environments; returns their moves by axis."""
        self._unassigned.take(self._random_score(self._unassigned_level))
        moves = {}
        for number, (name, axis) in enumerate(zip(self.names, self.axes, strict=True)):
            axis.window.take(0.0)  # for the relative score: these are relative to J_0 already
            mine = (self._axis == number) & ~self._by_teacher
            if mine.any():
                level = min(int(np.median(self._reached[mine])), self._top(axis))
                if level != axis.frontier:
                    moves[name] = level - axis.frontier
                axis.frontier = level
        return moves

    def _heed(self, axis: int, level: int, order: np.ndarray, score: np.ndarray) -> None:
        """Take in finished episodes of the teacher at a level: (k,) orders and scores."""
        waiting = self._waiting[axis][level]
        waiting += [Ended(*each, True) for each in zip(order.tolist(), score.tolist(), strict=True)]
        counted = self._in_order(waiting, axis, level)
        random = self._random_score(level)
        self.axes[axis].taught[level].extend(each.score - random for each in counted)

    def _judge(
        self, axis: int, level: int, score: np.ndarray, by_teacher: np.ndarray
    ) -> np.ndarray:
        """Where episodes at a level, (k,), move their environments: (k,) of -1, 0 and 1."""
        config, random = self.config, self._random_score(level)
        taught = self.axes[axis].taught[level]
        if len(taught) < config.teacher_least:
            return np.zeros(len(score), dtype=np.int64)
        back = np.full(len(score), -1 if level > 0 else 0)
        if self._teacher_fails(taught):
            failed = self.axes[axis].failed
            if not self.teacher_learns:
                self.axes[axis].failed = level if failed is None else min(failed, level)
            return back
        whole = float(np.mean(taught))
        if whole <= 0:  # there is nothing to compare with
            return back
        share = (score - random) / whole
        self.axes[axis].window.add(share, by_teacher)
        return np.where(share > config.bar, 1, np.where(share < config.fall_bar, back, 0))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on to the bit."""
        return {
            **super().state_dict(),
            "level": self._level.copy(),
            "reached": self._reached.copy(),
            "by_teacher": self._by_teacher.copy(),
            "waiting": [[list(map(list, each)) for each in levels] for levels in self._waiting],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        super().load_state_dict(state)
        for name in ("level", "reached", "by_teacher"):
            getattr(self, f"_{name}")[:] = state[name]
        self._waiting = [
            [[Ended(*one) for one in each] for each in levels] for levels in state["waiting"]
        ]

"""The table of Q-values: a DQN of Stable-Baselines3 teaches by every loss."""

import itertools

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")


@pytest.fixture(scope="module")
def text(trial):
    q = trial.table("q")
    arms = ("teacher", "tempered 2", "mse")
    runs = [r for r in q.runs() if (r.task, r.seed) == ("CartPole", 1) and r.arm in arms]
    assert len(runs) == len(arms)
    return trial.section(q, runs)


def test_teacher_and_students_have_their_rows(trial, text):
    teacher = trial.cells(text, "CartPole", "teacher")
    assert teacher[2:5] == ["1", "67 586", "6 144"]
    best = 0
    for arm in ("tempered 2", "mse"):
        row = trial.cells(text, "CartPole", arm)
        sizes = (4, 64, 64, 2)
        expected = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
        assert int(row[3].replace(" ", "")) == expected
        assert float(row[7]) == pytest.approx(float(row[6]) / float(teacher[6]), rel=0.1)
        best += row[8] in ("yes, so far", "no, so far")
    assert best == 1


def test_a_teacher_comes_back_from_its_weights_alone(trial, text):
    from harness.q_teaching import EPISODES, best_choice, load_q_teacher, q_teacher_run
    from harness.training import final_returns

    run = q_teacher_run("q", "CartPole", 1)
    path = trial.place.checkpoint(run)
    assert path.stat().st_size < 2**20
    actor = best_choice(load_q_teacher(trial.place, run))
    mean = np.mean(final_returns("CartPole", actor, episodes=EPISODES["CartPole"]))
    assert float(trial.cells(text, "CartPole", "teacher")[6]) == pytest.approx(mean, abs=0.5)


@pytest.mark.parametrize(
    ("task", "package", "sizes", "choices"),
    [("LunarLander", "Box2D", 8, 4), ("Breakout", "minatar", 400, 3)],
)
def test_the_other_tasks_run_too(trial, task, package, sizes, choices):
    pytest.importorskip(package)
    from harness.training import make_env

    env = make_env(task, 2)
    _, info = env.reset(seed=0)
    assert info["student"].shape == (2, sizes)
    assert env.single_action_space.n == choices
    rewards = [env.step(env.action_space.sample())[1] for _ in range(100)]
    assert np.isfinite(rewards).all()

"""Teachers that are not ours: which files they stand in, where they fit, and that they teach."""

import numpy as np
import pytest
import torch
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers.foreign import ForeignTeacherError, Sb3Teacher, load_teacher_file
from retort.distill.terms import TermConfig
from retort.hardware.checks import RangeError
from retort.sim.gymnasium_tasks import Difficulty
from retort.sim.named import GymnasiumConfig, make_named_env
from retort.sim.wrapped import WrappedEnv

from .foreign_models import ENVS, NEVER, Space, ask, excite, sb3_model, sequence


@pytest.fixture(scope="module")
def sb3():
    return pytest.importorskip("stable_baselines3")


def test_files_and_options_that_do_not_exist_say_what_does(tmp_path):
    with pytest.raises(ForeignTeacherError, match="there is no teacher"):
        load_teacher_file(tmp_path / "model.zip")
    strange = tmp_path / "model.bin"
    strange.write_bytes(b"")
    with pytest.raises(ForeignTeacherError, match=r"sb3 \(.zip\), rsl_rl \(.pt\), onnx \(.onnx\)"):
        load_teacher_file(strange)
    with pytest.raises(ForeignTeacherError, match="'noise'; its options are noise_std"):
        load_teacher_file(strange, kind="onnx", noise=0.1)
    with pytest.raises(RangeError, match="noise_std is 0"):
        load_teacher_file(strange, kind="onnx", noise_std=0.0)


def test_a_teacher_only_teaches_where_it_was_trained(sb3):
    teacher = Sb3Teacher(sb3_model(sb3, "SAC", "Pendulum-v1"))
    teacher.check(WrappedEnv("Pendulum-v1"))
    with pytest.raises(ForeignTeacherError, match=r"got observations of 2 .* expects 3"):
        teacher.check(WrappedEnv("MountainCarContinuous-v0"))
    with pytest.raises(ForeignTeacherError, match=r"got observations of 4 .* expects 3"):
        ask(teacher, sequence(4))
    widened = Sb3Teacher(sb3_model(sb3, "SAC", Space()))
    with pytest.raises(ForeignTeacherError, match=r"actions are Box.*Discrete"):
        widened.check(WrappedEnv("CartPole-v1"))
    with pytest.raises(ForeignTeacherError, match="there are teacher"):
        Sb3Teacher(sb3_model(sb3, "SAC", Space()), group="critic")(
            {"teacher": sequence()}, torch.zeros(ENVS, 0), NEVER
        )


def test_a_teacher_is_told_which_group_it_would_fit(sb3):
    config = GymnasiumConfig(difficulty=Difficulty())
    env = make_named_env("retort/Hopper-v5", 2, config)
    model = sb3_model(sb3, "SAC", "Hopper-v5")
    with pytest.raises(ForeignTeacherError, match="set its option group to 'student', which has"):
        Sb3Teacher(model).check(env)
    Sb3Teacher(model, group="student").check(env)


def taught(teacher, env, terms, discrete):
    """Term losses of the first and last iteration of a short distillation."""
    teacher.check(env)
    size, n = env.groups["student"], env.num_envs
    config = DistillConfig(
        steps=30 * n * 16,
        num_envs=n,
        ticks=16,
        teacher_share=0.5,
        terms=terms,
        epochs=4,
        minibatches=2,
        learning_rate=5e-3,
        fall_penalty=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = make_student(
            StudentConfig(hidden=(32,)), Interface.plain(size, teacher.outputs, discrete=discrete)
        )
        critic = Critic(size, (8,))
    distiller = Distiller(config, student, teacher, critic, seed=0)
    source = RolloutSource(env, config.ticks)
    source.start(seed=0)
    curriculum = Curriculum(CurriculumConfig(kind="none"), (), n, np.zeros(1))
    figures = list(distil(distiller, source, curriculum))
    assert figures[-1]["teacher_queries"] == len(figures) * n * 16
    return figures[0]["terms"], figures[-1]["terms"]


def test_a_dqn_teaches_by_its_q_values(sb3):
    model = sb3_model(sb3, "DQN", "CartPole-v1")
    excite(model.q_net)
    terms = (TermConfig(name="q", options={"kind": "tempered"}),)
    first, last = taught(Sb3Teacher(model), WrappedEnv("CartPole-v1", 8), terms, discrete=True)
    assert last["q"] < 0.3 * first["q"]


def test_a_sac_teaches_by_its_policy_and_by_its_critics(sb3):
    model = sb3_model(sb3, "SAC", "Pendulum-v1")
    excite(model.actor.latent_pi)
    terms = (TermConfig(name="policy_kl"), TermConfig(name="q_ascent", weight=1e-3))
    first, last = taught(Sb3Teacher(model), WrappedEnv("Pendulum-v1", 8), terms, discrete=False)
    assert last["policy_kl"] < 0.3 * first["policy_kl"]
    assert np.isfinite(last["q_ascent"])

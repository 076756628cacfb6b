"""Teacher and student learning at the same time: both learn, heads are shared, nothing diverges."""

import dataclasses

import numpy as np
import pytest
import torch
from retort.distill import ppo as ppo_module
from retort.distill.checkpoint import save_checkpoint
from retort.distill.concurrent import ConcurrentConfig, LearningTeacher, share_head
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.experiment import Experiment
from retort.distill.loop import distil
from retort.distill.networks import Critic
from retort.distill.ppo import PPO, PPOConfig
from retort.distill.sources.rollout import RolloutSource
from retort.distill.stages.finished import load_teacher
from retort.distill.students import StudentConfig, make_student
from retort.distill.terms import TermConfig
from retort.sim import RobotEnv

N, TICKS = 32, 16


class Line(RobotEnv):
    """A robot that is rewarded for pushing the same way as its command: learnt in seconds."""

    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        wanted = np.sign(info["command"][:, 0])
        reward = np.clip(actions.mean(axis=1) * wanted, 0, 1).astype(np.float32)
        return observation, reward, terminated, truncated, info


def learn(config, iterations=25):
    env = Line(num_envs=N, level=1.0, episode_seconds=0.2)
    steps = N * TICKS * iterations
    ppo = PPO(
        PPOConfig(
            steps=steps, num_envs=N, ticks=TICKS, hidden=(32, 16), critic_hidden=(32,), gamma=0.9,
            fall_penalty=0.0, final_fall_penalty=0.0,
        ),
        env,
        seed=0,
    )  # fmt: skip
    terms = (TermConfig(name="policy_kl"), TermConfig(name="rl"), TermConfig(name="value"))
    settings = DistillConfig(
        mode="concurrent", steps=steps, num_envs=N, ticks=TICKS, teacher_share=0.75, gamma=0.9,
        fall_penalty=0.0, terms=terms,
    )  # fmt: skip
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=(16, 16)), env.contract)
    critic = Critic(env.teacher_size, (32,))
    learning = LearningTeacher(ppo, config, student, critic)
    distiller = Distiller(settings, student, learning.teacher, critic, seed=0)
    curriculum = Curriculum(CurriculumConfig(kind="none"), env.axes, N, np.zeros(5))
    source = RolloutSource(env, TICKS, running=curriculum.running)
    source.share_with_teacher(settings.share(0.0))
    source.start(0)
    rows = list(distil(distiller, source, curriculum, learning=learning))
    return rows, ppo, distiller


@pytest.mark.parametrize(
    "config",
    [
        ConcurrentConfig(),
        ConcurrentConfig(pull=0.3),
        ConcurrentConfig(shared_layers=1),
        ConcurrentConfig(shared_layers=1, pull=0.3),
        ConcurrentConfig(shared_layers=1, shared_critic_layers=1),
    ],
    ids=["two networks", "pulled teacher", "shared head", "pulled to it", "shared head and critic"],
)
def test_both_learn(config):
    rows, _, _ = learn(config)
    for who in ("reward_teacher", "reward_student"):
        reward = [row[who] for row in rows]
        assert np.mean(reward[-5:]) > 1.5 * np.mean(reward[:3]), who
    assert rows[-1]["divergences"] == 0


def test_a_pulled_teacher_stays_nearer_to_its_student():
    free, pulled = (
        np.mean([row["kl"] for row in learn(ConcurrentConfig(pull=pull), 15)[0]][-5:])
        for pull in (0.0, 1.0)
    )
    assert pulled < 0.8 * free


def test_a_shared_head_is_one_and_stays_one():
    shared = ConcurrentConfig(shared_layers=1, shared_critic_layers=1)
    _, ppo, distiller = learn(shared, iterations=3)
    assert ppo.actor.network[-1] is distiller.student.layers[-1]
    assert ppo.critic.network[-1] is distiller.critic.network[-1]
    assert ppo.critic.network[0] is not distiller.critic.network[0]


def test_what_the_student_learns_leaves_a_shared_head_to_the_teacher():
    shared = ConcurrentConfig(shared_layers=1, shared_critic_layers=1)
    _, ppo, distiller = learn(shared, iterations=2)
    env = Line(num_envs=N, episode_seconds=0.2)
    source = RolloutSource(env, TICKS)
    source.start(1)
    seen = torch.randn(5, env.teacher_size)
    asked = torch.randn(5, env.contract.observation_size)
    batch = source.collect(distiller.act)
    said, value = ppo.actor(seen), ppo.critic(seen)
    answer, _ = distiller.student(asked[:, None], torch.zeros(1, 0), torch.zeros(5, 1))
    distiller.update(distiller.record(batch, 0.5), 0.5, 1.0)
    after, _ = distiller.student(asked[:, None], torch.zeros(1, 0), torch.zeros(5, 1))
    assert not torch.allclose(answer.mean, after.mean, atol=1e-4)
    assert torch.equal(ppo.actor(seen).mean, said.mean)
    assert torch.equal(ppo.actor(seen).std, said.std)
    assert torch.equal(ppo.critic(seen), value)


def test_a_pull_leaves_a_shared_head_as_it_would_be_without():
    def after_one_update(pull):
        _, ppo, distiller = learn(ConcurrentConfig(shared_layers=1), iterations=2)
        # One step, of which clipping would make one part depend on another.
        one = {"epochs": 1, "minibatches": 1, "max_gradient_norm": 1e9}
        ppo.config = dataclasses.replace(ppo.config, **one)
        learning = LearningTeacher(ppo, ConcurrentConfig(pull=pull))
        source = RolloutSource(Line(num_envs=N, episode_seconds=0.2), TICKS)
        source.share_with_teacher(1.0)
        source.start(1)
        learning.learn(source.collect(distiller.act, ppo.act), distiller.student, 0.0)
        shared = {id(each) for each in distiller.student.parameters()}
        every = list(ppo.actor.parameters())
        return [[p for p in every if (id(p) in shared) == with_it] for with_it in (True, False)]

    (head, encoder), (pulled_head, pulled_encoder) = map(after_one_update, (0.0, 100.0))
    assert head
    for one, other in zip(head, pulled_head, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    moved = [
        not torch.allclose(*pair, atol=1e-4) for pair in zip(encoder, pulled_encoder, strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize(
    ("teacher", "hidden", "said"),
    [
        ({"reward_scale": "return"}, (16,), "reward_scale"),
        ({}, (24,), "16 wide and the student's 24"),
        ({}, (), "leave each an encoder"),
        ({"activation": "relu"}, (16,), "activation is relu and the student's elu"),
    ],
    ids=str,
)
def test_critics_that_cannot_share_layers_are_refused(teacher, hidden, said):
    env = RobotEnv(num_envs=2)
    ppo = PPO(PPOConfig(critic_hidden=(16,), num_envs=2, **teacher), env, seed=0)
    critic = Critic(env.teacher_size, hidden)
    with pytest.raises(ValueError, match=said):
        LearningTeacher(ppo, ConcurrentConfig(shared_critic_layers=1), None, critic)


def test_heads_of_different_width_are_refused():
    env = RobotEnv(num_envs=2)
    ppo = PPO(PPOConfig(hidden=(32, 24), num_envs=2), env, seed=0)
    student = make_student(StudentConfig(hidden=(16, 16)), env.contract)
    with pytest.raises(ValueError, match="24 wide"):
        share_head(ppo.actor, student, 1)


def test_a_teacher_that_shares_its_head_acts_as_it_did_before():
    env = RobotEnv(num_envs=2)
    ppo = PPO(PPOConfig(hidden=(32, 16), num_envs=2, initial_std=0.7), env, seed=0)
    with torch.no_grad():
        ppo.actor.network[-1].weight += 0.3
    student = make_student(StudentConfig(hidden=(16, 16)), env.contract)
    seen = torch.randn(5, env.teacher_size)
    before = ppo.actor(seen)
    share_head(ppo.actor, student, 1)
    after = ppo.actor(seen)
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.std, after.std)
    assert ppo.actor.network[-1] is student.layers[-1]


def test_a_fall_costs_what_it_does_in_the_end_all_along(monkeypatch):
    env = Line(num_envs=N, level=1.0, episode_seconds=0.2)
    config = PPOConfig(
        steps=N * TICKS * 10, num_envs=N, ticks=TICKS, hidden=(8,), critic_hidden=(8,),
        fall_penalty=0.5, final_fall_penalty=2.0,
    )  # fmt: skip
    ppo, cost = PPO(config, env, seed=0), []
    learning_reward = ppo_module.learning_reward

    def seen(batch, gamma, penalty):
        cost.append(penalty)
        return learning_reward(batch, gamma, penalty)

    monkeypatch.setattr(ppo_module, "learning_reward", seen)
    source = RolloutSource(env, TICKS)
    source.share_with_teacher(1.0)
    source.start(0)
    batch = source.collect(ppo.act, ppo.act)
    ppo.fraction = 0.5
    ppo.update(batch)
    student = make_student(StudentConfig(hidden=(8,)), env.contract)
    learning = LearningTeacher(ppo, ConcurrentConfig())
    learning.learn(batch, student, 0.1)
    assert cost == [1.25, 2.0]
    assert learning.teacher.values_of.fall_penalty == 2.0


@pytest.mark.parametrize("when", [0, 5])
def test_an_update_that_leaves_the_teacher_far_behind_is_taken_back(monkeypatch, when):
    broken = []
    update = Distiller.update

    def explode(self, recorded, fraction, relative_score):
        losses = update(self, recorded, fraction, relative_score)
        if len(broken) == when:
            with torch.no_grad():
                self.student.layers[-1].bias += 1e3
                self.critic.network[-1].bias += 1e3
                for moments in self.optimiser.state.values():
                    moments["exp_avg"] += 1e3
        broken.append(1)
        return losses

    monkeypatch.setattr(Distiller, "update", explode)
    rows, _, distiller = learn(ConcurrentConfig(), iterations=12)
    assert rows[-1]["divergences"] == 1
    assert distiller.student.layers[-1].bias.abs().max() < 10
    assert distiller.critic.network[-1].bias.abs().max() < 10
    assert all(m["exp_avg"].abs().max() < 100 for m in distiller.optimiser.state.values())


def test_an_update_that_ends_in_no_number_is_taken_back_and_counted(monkeypatch):
    descended = []
    descend = Distiller._descend

    def spoil(self, *given):
        losses = descend(self, *given)
        if len(descended) == 10:
            with torch.no_grad():
                self.student.layers[-1].bias[0] = torch.nan
        descended.append(1)
        return losses

    monkeypatch.setattr(Distiller, "_descend", spoil)
    rows, _, distiller = learn(ConcurrentConfig(), iterations=12)
    assert rows[-1]["divergences"] == 1
    assert [row["terms"] == {} for row in rows].count(True) == 1
    assert all(bool(torch.isfinite(p).all()) for p in distiller.parameters)


def test_a_learning_teacher_tells_values_in_the_unit_of_all_teachers():
    """Its critic has whatever unit PPO's reward scale gives it, and that moves as it learns."""
    env = Line(num_envs=N, level=1.0, episode_seconds=0.2)
    settings = PPOConfig(
        steps=2 * N * TICKS, num_envs=N, ticks=TICKS, hidden=(8,), critic_hidden=(8,), gamma=0.9,
        reward_scale="return", fall_penalty=0.0, final_fall_penalty=0.0,
    )  # fmt: skip
    ppo = PPO(settings, env, seed=0)
    learning = LearningTeacher(ppo, ConcurrentConfig())
    source = RolloutSource(env, TICKS)
    source.share_with_teacher(1.0)
    source.start(0)
    batch = source.collect(ppo.act, ppo.act)
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=(8,)), env.contract)
    units = []
    for _ in range(2):
        learning.learn(batch, student, 0.0)
        said, _ = learning.teacher(batch.observations, torch.zeros(N, 0), batch.reset)
        expected = ppo.critic_of_returns()(batch.observations["teacher"])
        torch.testing.assert_close(said.value, expected)
        units.append(learning.teacher.value_unit)
    assert units[0] != 1.0
    again = LearningTeacher(PPO(settings, env, seed=1), ConcurrentConfig())
    again.load_state_dict(learning.state_dict())
    assert again.teacher.value_unit == learning.teacher.value_unit


def test_a_finished_teacher_does_too(tmp_path):
    settings = PPOConfig(
        steps=2 * N * TICKS, num_envs=N, ticks=TICKS, hidden=(8,), critic_hidden=(8,),
        reward_scale="return",
    )  # fmt: skip
    experiment = Experiment(robot="balancer", task="balancer", teacher=settings)
    env = experiment.world.make_env(N, episode_seconds=0.2)
    ppo = PPO(settings, env, seed=0)
    source = RolloutSource(env, TICKS)
    source.start(0)
    batch = source.collect(ppo.act)
    ppo.update(batch)
    (tmp_path / "teacher").mkdir()
    path = tmp_path / "teacher" / "checkpoint.safetensors"
    save_checkpoint(path, {"steps": settings.steps, "learner": ppo.state_dict()})
    teacher = load_teacher(experiment, tmp_path)
    said, _ = teacher(batch.observations, torch.zeros(N, 0), batch.reset)
    expected = ppo.critic_of_returns()(batch.observations["teacher"])
    torch.testing.assert_close(said.value, expected)
    assert not torch.allclose(said.value, ppo.critic(batch.observations["teacher"]))

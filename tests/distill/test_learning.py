"""The learners learn: advantages, normaliser, PPO and distillation on tiny problems."""

import copy

import gymnasium
import numpy as np
import pytest
import torch
from retort.distill.batch import TEACHER, advantages
from retort.distill.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from retort.distill.curriculum import Curriculum, CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.loop import distil
from retort.distill.networks import Critic, GaussianActor, Normaliser, make_actor
from retort.distill.ppo import PPO, PPOConfig, train
from retort.distill.sources.rollout import RolloutSource
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import ActorTeacher
from retort.distill.terms import TermConfig
from retort.hardware.errors import RetortError
from retort.sim import RobotEnv


def test_advantages_against_a_plain_loop():
    rng = np.random.default_rng(0)
    ticks, n, gamma, lam = 12, 5, 0.9, 0.8
    reward, value, final = (rng.normal(size=(ticks, n)) for _ in range(3))
    following = rng.normal(size=n)
    terminated = rng.random((ticks, n)) < 0.2
    truncated = (rng.random((ticks, n)) < 0.2) & ~terminated
    expected = np.zeros((ticks, n))
    for i in range(n):
        for t in range(ticks):
            total, discount = 0.0, 1.0
            for k in range(t, ticks):
                after = value[k + 1, i] if k + 1 < ticks else following[i]
                if terminated[k, i]:
                    after = 0.0
                elif truncated[k, i]:
                    after = final[k, i]
                total += discount * (reward[k, i] + gamma * after - value[k, i])
                if terminated[k, i] or truncated[k, i]:
                    break
                discount *= gamma * lam
            expected[t, i] = total
    tensors = (
        torch.from_numpy(x) for x in (reward, value, following, terminated, truncated, final)
    )
    got = advantages(*tensors, gamma=gamma, lam=lam)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_the_normaliser_has_the_statistics_of_everything_it_saw():
    torch.manual_seed(0)
    parts = [torch.randn(n, 3) * 4 + 7 for n in (5, 100, 1000)]
    normaliser = Normaliser(3)
    for part in parts:
        normaliser.update(part)
    everything = torch.cat(parts)
    torch.testing.assert_close(normaliser.mean, everything.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        normaliser.variance, everything.var(0, correction=0), rtol=1e-3, atol=0
    )
    assert normaliser(torch.full((1, 3), 1e6)).max() == 10.0


class Line(RobotEnv):
    """A robot that is rewarded for pushing the same way as its command: learnt in seconds."""

    def step(self, actions):
        observation, reward, terminated, truncated, info = super().step(actions)
        wanted = np.sign(info["command"][:, 0])
        reward = np.clip(actions.mean(axis=1) * wanted, 0, 1).astype(np.float32)
        return observation, reward, terminated, truncated, info


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    env = Line(num_envs=64, level=1.0, episode_seconds=0.2)
    config = PPOConfig(
        steps=64 * 16 * 40,
        num_envs=64,
        ticks=16,
        hidden=(32,),
        critic_hidden=(32,),
        gamma=0.9,
        fall_penalty=0.0,
        final_fall_penalty=0.0,
    )
    ppo = PPO(config, env, seed=0)
    source = RolloutSource(env, config.ticks)
    source.start(0)
    return ppo, [figures["reward"] for figures in train(ppo, source)]


def test_ppo_learns(trained):
    _, rewards = trained
    assert np.mean(rewards[-3:]) > 1.15 * np.mean(rewards[:3])


def distiller_for(ppo, terms, share=0.2, seed=0, hidden=(16,), **changes):
    env = Line(num_envs=64, level=1.0, episode_seconds=0.2)
    settings = {
        "steps": 64 * 16 * 25,
        "num_envs": 64,
        "ticks": 16,
        "teacher_share": share,
        "terms": terms,
        "critic_hidden": (16,),
        "episode_seconds": 0.2,
    }
    config = DistillConfig(**{**settings, **changes})
    torch.manual_seed(seed)
    student = make_student(StudentConfig(hidden=hidden), env.contract)
    teacher = ActorTeacher(ppo.actor, ppo.critic)
    distiller = Distiller(config, student, teacher, Critic(env.teacher_size, (16,)), seed)
    curriculum = Curriculum(CurriculumConfig(kind="none"), env.axes, 64, np.zeros(5))
    source = RolloutSource(env, 16, running=curriculum.running)
    source.share_with_teacher(share)
    env.level_source = curriculum.assign
    source.start(seed)
    return distiller, source, curriculum


def test_distillation_changes_the_student_and_not_the_teacher_and_lowers_the_kl(trained):
    ppo, _ = trained
    distiller, source, curriculum = distiller_for(ppo, (TermConfig(name="policy_kl"),))
    teacher = {k: v.clone() for k, v in ppo.actor.state_dict().items()}
    student = [p.detach().clone() for p in distiller.student.parameters()]
    rows = list(distil(distiller, source, curriculum))
    kl = [row["terms"]["policy_kl"] for row in rows]
    assert np.mean(kl[-3:]) < 0.3 * kl[0]
    for key, value in ppo.actor.state_dict().items():
        torch.testing.assert_close(value, teacher[key], rtol=0, atol=0)
    after = list(distiller.student.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(student, after, strict=True))
    assert rows[-1]["teacher_queries"] == rows[-1]["steps"] - 64 * 16  # the first gives scale


def test_the_reward_alone_teaches_a_student_too(trained):
    ppo, _ = trained
    terms = (TermConfig(name="rl"), TermConfig(name="value", options={"until": 0.0}))
    distiller, source, curriculum = distiller_for(
        ppo, terms, share=0.0, steps=64 * 16 * 80, gamma=0.9
    )
    rewards = []
    collect = source.collect

    def watched(*actors):
        batch = collect(*actors)
        rewards.append(float(batch.reward.mean()))
        return batch

    source.collect = watched
    list(distil(distiller, source, curriculum))
    assert np.mean(rewards[-3:]) > 1.3 * np.mean(rewards[:3])


def test_kept_batches_teach_nothing_of_reward(trained):
    """Somebody older acted there: only the fresh batch moves the critic, in the first epoch."""
    ppo, _ = trained
    terms = (TermConfig(name="rl"), TermConfig(name="value"))
    critics = []
    for epochs in (2, 4):
        distiller, source, curriculum = distiller_for(
            ppo, terms, mode="aggregate", epochs=epochs, steps=64 * 16 * 2
        )
        list(distil(distiller, source, curriculum))
        critics.append(torch.cat([p.flatten() for p in distiller.critic.parameters()]))
    torch.testing.assert_close(*critics, rtol=0, atol=0)


def test_the_teacher_drives_its_share_of_the_environments(trained):
    ppo, _ = trained
    distiller, source, _ = distiller_for(ppo, (TermConfig(name="policy_kl"),), share=0.5)
    batch = source.collect(distiller.act, distiller.act_as_teacher)
    taught = batch.driver == TEACHER
    assert int(taught.sum()) == 32
    output, _ = distiller.teachers[0](batch.observations, torch.zeros(64, 0), batch.reset)
    density = output.distribution.log_prob(batch.action)
    torch.testing.assert_close(density[:, taught], batch.log_prob[:, taught])
    assert not torch.allclose(density[:, ~taught], batch.log_prob[:, ~taught])


@pytest.mark.parametrize("name", ["rl", "proximal", "value", "corrected"])
def test_what_the_teacher_drove_counts_nothing_for_terms_on_own_acts(name, trained):
    ppo, _ = trained
    terms = tuple(TermConfig(name=each) for each in dict.fromkeys((name, "policy_kl", "value")))
    distiller, source, _ = distiller_for(ppo, terms, share=0.75)
    batch = source.collect(distiller.act, distiller.act_as_teacher)
    recorded, ids = distiller.record(batch, 0.1), torch.arange(64)
    sample, taught = distiller._sample(recorded, ids, 0.1), batch.driver == TEACHER
    losses = {s.name: distiller._loss(t, sample, recorded, ids) for s, t in distiller.terms}
    own, whole = losses[name], losses["policy_kl"]
    torch.testing.assert_close(own.mean(), own[:, ~taught].mean() / 4)
    assert whole[:, taught].abs().min() > 0


def test_a_student_is_counted_by_weights_and_biases():
    env = RobotEnv(num_envs=1)
    student = make_student(StudentConfig(hidden=(32,)), env.contract)
    assert student.parameter_count() == 60 * 32 + 32 + 32 * 2 + 2
    actor = GaussianActor(3, 2, (5,))
    assert actor.parameter_count() == 3 * 5 + 5 + 5 * 2 + 2


def test_a_checkpoint_gives_back_what_was_saved(tmp_path):
    path = tmp_path / "x.safetensors"
    state = {"a": {"b": torch.arange(3), "c": [1, 2.5, None]}, "d": "text", "e": np.eye(2)}
    save_checkpoint(path, state)
    got = load_checkpoint(path)
    assert got["d"] == "text"
    assert got["a"]["c"] == [1, 2.5, None]
    torch.testing.assert_close(got["a"]["b"], torch.arange(3))
    np.testing.assert_array_equal(got["e"].numpy(), np.eye(2))


def test_a_checkpoint_may_be_read_by_whom_other_files_may(tmp_path):
    path, other = tmp_path / "x.safetensors", tmp_path / "x.txt"
    other.touch()
    for _ in range(2):  # anew, and over one that is there
        save_checkpoint(path, {"a": torch.zeros(1)})
        assert path.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_one_clear_sentence(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, {"a": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(CheckpointError, match="--fresh"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, {"a": torch.zeros(3)})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retort.distill.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, {"a": torch.ones(3)})
    torch.testing.assert_close(load_checkpoint(path)["a"], torch.zeros(3))


def test_a_teacher_sees_the_columns_it_was_trained_on(trained):
    ppo, _ = trained
    env = Line(num_envs=3, episode_seconds=0.2)
    seen = torch.randn(2, 3, env.teacher_size)
    told = torch.cat([seen, torch.ones(2, 3, 2)], dim=-1)
    reset, state = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(3, 0)
    whole, _ = ActorTeacher(ppo.actor, ppo.critic)({"teacher": seen}, state, reset)
    teacher = ActorTeacher(ppo.actor, ppo.critic, columns=slice(env.teacher_size))
    said, _ = teacher({"teacher": told}, state, reset)
    torch.testing.assert_close(said.distribution.mode(), whole.distribution.mode())
    torch.testing.assert_close(said.value, whole.value)


def test_a_student_of_discrete_actions_explores_by_epsilon_and_says_how_likely_that_was():
    config = DistillConfig(epsilon=0.5, num_envs=1000, terms=(TermConfig(name="q"),))
    student = make_student(StudentConfig(hidden=(4,)), Interface.plain(3, 4, discrete=True))
    teacher = ActorTeacher(make_actor(3, gymnasium.spaces.Discrete(4), (4,)))
    distiller = Distiller(config, student, teacher, Critic(3, (4,)), 0)
    groups = {"student": torch.zeros(1000, 3)}
    reset, state = torch.zeros(1000, dtype=torch.bool), torch.zeros(1000, 0)
    action, log_prob, _ = distiller.act(groups, state, reset)
    best = student(groups["student"][None], state, reset[None])[0].mode()[0]
    probability = torch.where(action == best, 0.5 + 0.5 / 4, 0.5 / 4)
    torch.testing.assert_close(log_prob.exp(), probability)
    assert abs((action == best).float().mean().item() - 0.625) < 0.05


@pytest.mark.parametrize("name", ["rl", "proximal", "corrected"])
def test_what_weighs_acts_by_their_own_density_does_not_go_with_epsilon(name):
    with pytest.raises(ValueError, match=f"terms.1.: {name} weighs .* leave one of the two out"):
        DistillConfig(epsilon=0.1, terms=(TermConfig(name="policy_kl"), TermConfig(name=name)))


def test_what_is_taken_back_acts_and_learns_as_before(trained):
    """A whitened student too, whose weights go with the statistics that they were learnt in."""
    ppo, _ = trained
    terms = (TermConfig(name="policy_kl"), TermConfig(name="latent"), TermConfig(name="value"))
    distiller, source, _ = distiller_for(ppo, terms)
    torch.manual_seed(0)
    config = StudentConfig(hidden=(16,), whiten=True)
    student = make_student(config, source.env.contract)
    distiller = Distiller(
        distiller.config, student, ActorTeacher(ppo.actor, ppo.critic), distiller.critic, 0
    )
    batch = source.collect(distiller.act, distiller.act_as_teacher)
    distiller.measure(batch)
    distiller.update(distiller.record(batch, 0.0), 0.0, 0.0)

    def told():
        seen = batch.observations["student"]
        said = student(seen, batch.initial_state, batch.reset)[0].mode()
        learnt = [p for _, term in distiller.terms for p in term.parameters()]
        return [tensor.detach().clone() for tensor in (said, *learnt)]

    before, undo = told(), distiller.snapshot()
    moments = copy.deepcopy(distiller.optimiser.state_dict()["state"])
    recorded = distiller.record(batch, 0.0)
    with torch.no_grad():
        batch.observations["student"][:] += 5.0  # statistics move, and weights with them
    distiller.update(recorded, 0.0, 0.0)
    with torch.no_grad():
        batch.observations["student"][:] -= 5.0
    assert not torch.allclose(told()[0], before[0])
    undo()
    for one, other in zip(told(), before, strict=True):
        torch.testing.assert_close(one, other)
    for name, state in distiller.optimiser.state_dict()["state"].items():
        torch.testing.assert_close(state["exp_avg"], moments[name]["exp_avg"])


def test_epsilon_is_for_choices_only(trained):
    ppo, _ = trained
    distiller, source, _ = distiller_for(ppo, (TermConfig(name="policy_kl"),), epsilon=0.1)
    with pytest.raises(RetortError, match="discrete"):
        source.collect(distiller.act)


def test_terms_of_one_name_are_told_apart(trained):
    ppo, _ = trained
    terms = (
        TermConfig(name="policy_kl"),
        TermConfig(name="policy_kl", options={"direction": "reverse"}),
        TermConfig(name="rl"),
        TermConfig(name="value"),
    )
    distiller, source, curriculum = distiller_for(ppo, terms, steps=64 * 16 * 2)
    (row,) = distil(distiller, source, curriculum)
    assert set(row["terms"]) == {"policy_kl_1", "policy_kl_2", "rl", "value"}

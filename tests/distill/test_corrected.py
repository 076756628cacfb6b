"""Corrected distillation through the distiller: the gradient of the whole, by enumeration.

A batch that holds every course of a small decision process as often as it is probable is an exact
expectation, so that the distiller's gradient has no noise to hide behind.
"""

import dataclasses
import itertools

import pytest
import torch
from retort.distill.batch import STUDENT, TEACHER, Batch, no_episodes
from retort.distill.checkpoint import CheckpointError
from retort.distill.distill_config import DistillConfig
from retort.distill.distiller import Distiller
from retort.distill.distributions import Categorical
from retort.distill.networks import Critic
from retort.distill.students import Interface, StudentConfig, make_student
from retort.distill.teachers import TeacherOutput
from retort.distill.terms import TermConfig
from retort.distill.terms.pseudo_reward import pseudo_reward

STATES, CHOICES, TICKS = 4, 3, 3
# Each state's tickets: a choice is as probable as the share of the tickets that name it.
TICKETS = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 2], [2, 0, 0, 1]])
NEXT = torch.tensor([[1, 2, 3], [0, 2, 2], [3, 0, 1], [3, 1, 0]])  # by state and choice
COURSES = tuple(itertools.product(range(TICKETS.shape[1]), repeat=TICKS))
GAMMA = 1.0 - 1e-4  # next to the sum that is enumerated; values are scaled by what is missing to 1


class Table:
    """A teacher with logits for every state, (STATES, CHOICES)."""

    def __init__(self):
        drawn = torch.randn(STATES, CHOICES, generator=torch.Generator().manual_seed(3))
        self.logits = 3.0 * drawn

    def initial_state(self, n):
        return torch.zeros(n, 0)

    def __call__(self, observations, state, resets):
        return TeacherOutput(Categorical(observations["teacher"] @ self.logits)), state


def probabilities():
    counts = torch.stack([torch.bincount(row, minlength=CHOICES) for row in TICKETS])
    return counts / TICKETS.shape[1]


def every_course():
    """One episode in each environment, from state 0, that ends with the batch."""
    tickets = torch.tensor(COURSES).T
    n = tickets.shape[1]
    state, states, actions = torch.zeros(n, dtype=torch.int64), [], []
    for drawn in tickets:
        states.append(state)
        actions.append(TICKETS[state, drawn])
        state = NEXT[state, actions[-1]]
    seen, action = torch.eye(STATES)[torch.stack(states)], torch.stack(actions)
    over = torch.zeros(TICKS, n, dtype=torch.bool)
    over[-1] = True
    final = torch.eye(STATES)[state]
    first = torch.zeros_like(over)
    first[0] = True
    index = torch.stack([torch.full((n,), TICKS - 1), torch.arange(n)], dim=-1)
    return Batch(
        observations={"student": seen, "teacher": seen},
        action=action,
        log_prob=probabilities()[torch.stack(states), action].log(),
        driver=torch.full((n,), STUDENT),
        reward=torch.zeros(TICKS, n),
        terminated=over,
        truncated=torch.zeros_like(over),
        reset=first,
        final_index=index,
        final_observations={"student": final, "teacher": final},
        last_observations={"student": seen[0], "teacher": seen[0]},
        initial_state=torch.zeros(n, 0),
        level=torch.zeros(TICKS, n, 0),
        task=torch.zeros(TICKS, n, dtype=torch.int64),
        episodes=no_episodes(),
    )


def make(*terms, **changes):
    """A distiller of a linear student, which holds its logits for every state in its weights."""
    settings = {
        "num_envs": len(COURSES), "ticks": TICKS, "epochs": 1, "minibatches": 1, "gamma": GAMMA,
        "lam": 1.0, "fall_penalty": 0.0, "max_gradient_norm": 1e9, "teacher_share": 0.0,
        "terms": terms,
    }  # fmt: skip
    interface = Interface.plain(STATES, CHOICES, discrete=True)
    torch.manual_seed(0)
    student = make_student(StudentConfig(hidden=()), interface)
    with torch.no_grad():
        student.layers[0].weight.copy_(probabilities().log().T)
        student.layers[0].bias.zero_()
    critic = Critic(STATES, (8,))
    return Distiller(DistillConfig(**{**settings, **changes}), student, Table(), critic, 0)


def gradient(distiller, batch):
    """Of the whole objective, by the student's logits of every state, (STATES, CHOICES)."""
    distiller.update(distiller.record(batch, 0.0), 0.0, 0.0)
    return distiller.student.layers[0].weight.grad.T


def enumerated(direction):
    """Gradient of the mean over ticks of E l(s_t), l a cross-entropy, by the logits."""
    theta = probabilities().double().log().requires_grad_()
    policy, teacher = theta.softmax(-1), Table().logits.double().softmax(-1)
    of, under = (teacher, policy) if direction == "forward" else (policy, teacher)
    loss = -(of * under.log()).sum(-1)
    visits, total = torch.eye(STATES, dtype=torch.float64)[0], torch.zeros((), dtype=torch.float64)
    for _ in range(TICKS):
        total = total + visits @ loss
        moved = (visits[:, None] * policy).flatten()
        visits = torch.zeros_like(visits).index_add(0, NEXT.flatten(), moved)
    return torch.autograd.grad(total / TICKS, theta)[0].float()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("weight", [1.0, 10.0])
@pytest.mark.parametrize("others", [(), ("rl", "value")], ids=["alone", "beside rl"])
def test_the_gradient_is_that_of_the_loss_over_the_student_s_own_courses(direction, weight, others):
    """Direction and size at any weight; of the environment's reward there is none."""
    corrected = TermConfig(name="corrected", weight=weight, options={"direction": direction})
    distiller = make(corrected, *(TermConfig(name=name) for name in others))
    [critic] = distiller.critics.values()
    torch.nn.init.normal_(critic.network[-1].weight)  # whatever it expects
    got = gradient(distiller, every_course())
    torch.testing.assert_close(got, weight * enumerated(direction), rtol=2e-3, atol=2e-4 * weight)


def test_what_lies_beyond_the_batch_is_weighed_there():
    """Of two teachers the first is heard along the batch, the second after it."""
    distiller, batch = make(TermConfig(name="corrected")), every_course()
    on = dataclasses.replace(
        batch, terminated=torch.zeros_like(batch.terminated), final_index=batch.final_index[:0],
        final_observations={g: v[:0] for g, v in batch.final_observations.items()},
        teacher_states=(torch.zeros(batch.num_envs, 0),) * 2,
    )  # fmt: skip
    cut = dataclasses.replace(
        on, truncated=batch.terminated, final_index=batch.final_index,
        final_observations=batch.final_observations,
    )  # fmt: skip
    first, second = Table(), Table()
    second.logits = -first.logits
    [(_, term)] = distiller.terms

    def weigh(seen, task, said):
        assert len(said) == 2
        assert seen.shape[:-1] == task.shape
        return torch.tensor([0.0, 1.0]).expand(*task.shape, 2)

    def rewards(batch, *teachers):
        weights = torch.tensor([1.0, 0.0]).expand(*batch.reset.shape, 2)
        said = [teacher(batch.observations, None, None)[0] for teacher in teachers]
        return pseudo_reward(
            term, batch, distiller.student, teachers, said, weights,
            weigh=weigh, discount=GAMMA, generator=torch.Generator(),
        )  # fmt: skip

    for each in (on, cut):
        both, alone, other = (
            rewards(each, *pair) for pair in ((first, second), (first, first), (second, second))
        )
        torch.testing.assert_close(both[:-1], alone[:-1])
        torch.testing.assert_close(both[-1], other[-1])
        assert not torch.allclose(both[-1], alone[-1])


def test_half_of_it_goes_another_way():
    [half] = [gradient(make(TermConfig(name="policy_kl")), every_course())]
    off = (half - enumerated("forward")).norm() / enumerated("forward").norm()
    assert off > 0.1


def test_it_learns_what_to_expect_and_counts_it_for_what_lies_beyond_the_batch():
    batch, gamma = every_course(), 0.9
    distiller = make(TermConfig(name="corrected"), gamma=gamma, learning_rate=0.02)
    for _ in range(300):
        distiller.update(distiller.record(batch, 0.0), 0.5, 0.0)
    seen = batch.observations["student"]
    with torch.no_grad():
        said = distiller.student(seen, batch.initial_state, batch.reset)[0]
        loss = Categorical(seen @ Table().logits).cross_entropy(said)
        [critic] = distiller.critics.values()
        expects = critic(seen) / (1.0 - gamma)
    ahead = torch.zeros_like(loss)
    for tick in reversed(range(TICKS - 1)):
        ahead[tick] = gamma * (ahead[tick + 1] - loss[tick + 1])
    for state in range(STATES):
        here = seen[..., state] > 0
        torch.testing.assert_close(expects[here].mean(), ahead[here].mean(), rtol=0.0, atol=0.05)
    on = dataclasses.replace(batch, terminated=torch.zeros_like(batch.terminated))
    [(advantage, _)] = distiller.record(on, 0.0).pseudo.values()
    beyond = -gamma * loss[0] + gamma * expects[0] - expects[2]  # from a state 0 on again
    torch.testing.assert_close(advantage[2], beyond, rtol=1e-3, atol=1e-3)


def test_where_the_teacher_acts_nothing_is_learnt():
    batch = every_course()
    distiller = make(TermConfig(name="corrected"), TermConfig(name="policy_kl"))
    half = torch.arange(batch.num_envs) % 2
    driven = dataclasses.replace(batch, driver=torch.where(half > 0, TEACHER, STUDENT))
    recorded = distiller.record(driven, 0.0)
    ids = torch.arange(batch.num_envs)
    loss = distiller._loss(
        distiller.terms[0][1], distiller._sample(recorded, ids, 0.0), recorded, ids
    )
    assert (loss[:, half > 0] == 0).all()
    assert (loss[:, half == 0] != 0).any()


def test_a_checkpoint_from_before_it_had_a_critic_is_refused():
    distiller = make(TermConfig(name="corrected"))
    state = distiller.state_dict()
    distiller.load_state_dict(state)
    del state["critics"]
    with pytest.raises(CheckpointError, match="--fresh"):
        distiller.load_state_dict(state)

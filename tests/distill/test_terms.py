"""Terms of the objective: what each adds to its loss function, and what it refuses."""

from contextlib import nullcontext

import pytest
import torch
from retort.distill.distill_config import DistillConfig
from retort.distill.distributions import Categorical, Gaussian, TanhGaussian
from retort.distill.teachers import TeacherOutput
from retort.distill.terms import Sample, TermConfig, TermError, make_term
from retort.hardware import RetortError
from retort.hardware.checks import RangeError


def make_sample(**changes):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    def policy():
        return Gaussian(randn(3, 4, 2), randn(3, 4, 2).exp())

    value, expected = randn(3, 4), randn(3, 4)
    sample = {
        "observations": {"student": randn(3, 4, 5), "teacher": randn(3, 4, 5)},
        "reset": torch.zeros(3, 4, dtype=torch.bool),
        "student": policy(),
        "value": lambda: value,
        "teacher": TeacherOutput(policy(), expected),
        "expected": expected,
        "action": randn(3, 4, 2),
        "ratio": randn(3, 4).mul(0.3).exp(),
        "advantage": randn(3, 4),
        "lambda_return": randn(3, 4),
        "own": torch.ones(3, 4),
        "fraction": 0.0,
    }
    return Sample(**{**sample, **changes})


def test_a_squashed_teacher_is_copied_by_the_moments_of_its_actions():
    teacher = TanhGaussian(torch.full((3, 4, 2), 0.7), torch.full((3, 4, 2), 0.3))
    draws = torch.stack([teacher.sample() for _ in range(4000)])
    moments = Gaussian(draws.mean(0), draws.std(0))
    term = make_term(TermConfig(name="policy_kl"))
    said = TeacherOutput(teacher)
    near, far = (
        term.loss(make_sample(teacher=said, student=student))
        for student in (moments, Gaussian(moments.mean + 0.3, moments.std))
    )
    assert near.max() < 0.02
    assert far.min() > 0.3


@pytest.mark.parametrize("name", ["policy_kl", "mean_regression"])
def test_a_limit_asks_for_no_more_than_motors_can_do(name):
    told = torch.tensor([3.0, -2.0, 0.5]).expand(3, 4, 3)
    std = torch.full((3, 4, 3), 0.3)
    said = TeacherOutput(Gaussian(told, std))
    limited, usual = (
        make_term(TermConfig(name=name, options=options)) for options in ({"limit": 1.0}, {})
    )

    def loss(term, mean):
        return term.loss(make_sample(teacher=said, student=Gaussian(mean, std)))

    alike = torch.tensor([1.2, -5.0, 0.5]).expand(3, 4, 3)
    assert loss(limited, alike).max() < 1e-6
    assert loss(usual, alike).min() > 1.0
    mean = torch.zeros(3, 4, 3, requires_grad=True)
    optimiser = torch.optim.Adam([mean], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        loss(limited, mean).sum().backward()
        optimiser.step()
    expected = torch.tensor([1.0, -1.0, 0.5]).expand(3, 4, 3)
    torch.testing.assert_close(mean.detach().clamp(-1.0, 1.0), expected, atol=0.02, rtol=0)


def test_a_limit_is_refused_where_there_is_none():
    term = make_term(TermConfig(name="policy_kl", options={"limit": 1.0}))
    choices = Categorical(torch.zeros(3, 4, 2))
    with pytest.raises(TermError, match="leave it out"):
        term.loss(make_sample(student=choices, teacher=TeacherOutput(choices)))
    with pytest.raises(TermError, match="limit is 0"):
        make_term(TermConfig(name="mean_regression", options={"limit": 0.0}))


def test_a_huber_loss_needs_a_width():
    with pytest.raises(TermError, match=r"delta is 0\.0; use a finite number, more than 0"):
        make_term(TermConfig(name="mean_regression", options={"loss": "huber", "delta": 0.0}))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mean_regression", {"delta": 3.0}, r"delta is 3\.0 and does nothing where loss is 'mse'"),
        ("robust", {"epsilon": 0.0}, r"epsilon is 0\.0; use a finite number, more than 0"),
        ("smoothness", {"deviation": 0.0}, r"deviation is 0\.0; use a finite number, more than 0"),
        ("smoothness", {"spatial": 0, "deviation": 0.1}, r"deviation is 0\.1 and does nothing whe"),
        ("rl", {"clip": 0.0}, r"clip is 0\.0; use more than 0, at most 1"),
        ("rl", {"clip": 5.0}, r"clip is 5\.0; use more than 0, at most 1"),
        (
            "q",
            {"kind": "nll", "factor": 3.0},
            r"factor is 3\.0 and does nothing where kind is 'nll'",
        ),
        (
            "q",
            {"kind": "mse", "temperature": 1.0},
            r"temperature is 1\.0 and does nothing where ki",
        ),
        ("q", {"temperature": 2.0, "factor": 0.1}, r"factor is 0\.1 and does nothing where temper"),
    ],
)
def test_an_option_that_does_nothing_is_refused(name, options, words):
    with pytest.raises(TermError, match=words):
        make_term(TermConfig(name=name, options=options))


def test_what_of_an_option_does_something_is_taken():
    make_term(TermConfig(name="smoothness", options={"spatial": 0}))  # in time alone
    make_term(TermConfig(name="mean_regression", options={"loss": "huber", "delta": 3.0}))
    make_term(TermConfig(name="q", options={"kind": "nll", "factor": 0.5}))  # as if not said


def test_samples_are_refused_where_nothing_is_sampled():
    choices = Categorical(torch.zeros(3, 4, 2))
    exact = make_sample(student=choices, teacher=TeacherOutput(choices))
    for name, sample in (("cross_entropy", exact), ("corrected", exact), ("corrected", None)):
        sample = sample or make_sample()
        make_term(TermConfig(name=name)).loss(sample)
        with pytest.raises(TermError, match="samples is 9 and does nothing where"):
            make_term(TermConfig(name=name, options={"samples": 9})).loss(sample)
    make_term(TermConfig(name="cross_entropy", options={"samples": 9})).loss(make_sample())


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_the_cross_entropy_of_choices_is_exact(direction):
    draw = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(3, 4, 5, generator=draw) for _ in range(2))
    term = make_term(TermConfig(name="cross_entropy", options={"direction": direction}))
    of, under = (teacher, student) if direction == "forward" else (student, teacher)
    expected = -(of.softmax(-1) * under.log_softmax(-1)).sum(-1)
    said = TeacherOutput(Categorical(teacher))
    loss = term.loss(make_sample(teacher=said, student=Categorical(student)))
    torch.testing.assert_close(loss, expected)


def test_the_cross_entropy_of_a_choice_under_a_density_is_refused():
    term, choices = make_term(TermConfig(name="cross_entropy")), Categorical(torch.zeros(3, 4, 2))
    with pytest.raises(RetortError, match="Categorical and Gaussian have no actions in common"):
        term.loss(make_sample(teacher=TeacherOutput(choices)))


@pytest.mark.parametrize("name", ["weight", "end"])
def test_a_weight_that_would_turn_a_term_round_is_refused(name):
    with pytest.raises(RangeError, match=f"{name} is -1.0; use a finite number, at least 0"):
        TermConfig(name="policy_kl", **{name: -1.0})


def test_q_kinds_agree_on_the_best_action():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(3, 4, 6, generator=generator) * 50
    for kind in ("sharpened", "tempered", "nll", "mse"):
        logits = torch.zeros(3, 4, 6, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=1.0)
        term = make_term(TermConfig(name="q", options={"kind": kind}))
        for _ in range(300):
            student = Categorical(logits)
            said = TeacherOutput(Categorical(q), q=q)
            optimiser.zero_grad()
            term.loss(make_sample(student=student, teacher=said)).mean().backward()
            optimiser.step()
        assert (logits.argmax(-1) == q.argmax(-1)).all(), kind


def test_q_needs_q_values_and_a_student_that_chooses():
    term = make_term(TermConfig(name="q"))
    with pytest.raises(TermError, match="Q-values"):
        term.loss(make_sample())
    said = TeacherOutput(Categorical(torch.zeros(3, 4, 2)), q=torch.zeros(3, 4, 2))
    with pytest.raises(TermError, match="q_ascent"):
        term.loss(make_sample(teacher=said))


def test_latent_learns_its_own_projection():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(3, 4, 8, generator=generator)
    teacher = student @ torch.randn(8, 3, generator=generator)
    sample = make_sample(features={"layer0": student})
    sample.teacher = TeacherOutput(sample.teacher.distribution, latent=teacher)
    term = make_term(TermConfig(name="latent"))
    term.prepare([sample])
    optimiser = torch.optim.Adam(term.parameters(), lr=0.05)
    first = term.loss(sample).mean().item()
    for _ in range(400):
        optimiser.zero_grad()
        term.loss(sample).mean().backward()
        optimiser.step()
    assert term.loss(sample).mean().item() < 1e-3 * first
    other = make_term(TermConfig(name="latent"))
    other.load_state_dict(term.state_dict())
    torch.testing.assert_close(other.loss(sample), term.loss(sample))


def test_latent_learns_what_two_teachers_know_in_two_bases():
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(3, 4, 8, generator=generator)
    turned = known @ torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    samples = []
    for number, latent in enumerate((known, turned, turned[..., :5])):
        sample = make_sample(features={"layer0": known})
        sample.teacher = TeacherOutput(sample.teacher.distribution, latent=latent)
        sample.teacher_index = number
        samples.append(sample)
    term = make_term(TermConfig(name="latent"))
    term.prepare(samples)
    optimiser = torch.optim.Adam(term.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        sum(term.loss(sample).mean() for sample in samples).backward()
        optimiser.step()
    assert all(term.loss(sample).mean() < 1e-2 for sample in samples)
    other = make_term(TermConfig(name="latent"))
    other.load_state_dict(term.state_dict())
    for sample in samples:
        torch.testing.assert_close(other.loss(sample), term.loss(sample))


def test_a_layer_that_does_not_exist_names_those_that_do():
    term = make_term(TermConfig(name="similarity", options={"student": "layer9"}))
    sample = make_sample(features={"layer0": torch.zeros(3, 4, 8)})
    sample.teacher = TeacherOutput(
        sample.teacher.distribution, features={"layer0": torch.zeros(3, 4, 8)}
    )
    with pytest.raises(TermError, match="layer0"):
        term.loss(sample)


def test_value_begins_at_the_teachers_value_and_ends_at_the_students_return():
    term = make_term(TermConfig(name="value", options={"until": 0.5}))
    start, middle, end = (make_sample(fraction=f) for f in (0.0, 0.25, 0.75))
    torch.testing.assert_close(term.loss(start), (start.value() - start.teacher.value) ** 2)
    mixed = 0.5 * middle.lambda_return + 0.5 * middle.teacher.value
    torch.testing.assert_close(term.loss(middle), (middle.value() - mixed) ** 2)
    torch.testing.assert_close(term.loss(end), (end.value() - end.lambda_return) ** 2)


def test_reinforcement_has_no_gradient_outside_the_trust_region():
    ratio = torch.tensor([[0.5, 0.9, 1.1, 2.0]], requires_grad=True)
    advantage = torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    sample = make_sample(ratio=ratio, advantage=advantage, own=torch.ones(1, 4))
    make_term(TermConfig(name="rl")).loss(sample).sum().backward()
    torch.testing.assert_close(ratio.grad, torch.tensor([[0.0, 1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("name", ["rl", "value", "proximal", "corrected"])
def test_terms_on_its_own_acts_use_only_what_the_student_did(name):
    own = torch.zeros(3, 4)
    own[:, 1] = 1.0
    term = make_term(TermConfig(name=name))
    assert term.own  # it is passed over where there is nothing of that
    loss = term.loss(make_sample(own=own))
    assert (loss[:, [0, 2, 3]] == 0).all()
    assert (loss[:, 1] != 0).all()


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_proximal_clips_the_divergence_in_either_direction(direction):
    ratio = torch.full((3, 4), 0.5)
    ratio[:, 0] = 1.5
    sample = make_sample(ratio=ratio, own=torch.ones(3, 4))
    options = {"direction": direction}
    plain = make_term(TermConfig(name="policy_kl", options=options)).loss(sample)
    loss = make_term(TermConfig(name="proximal", options={**options, "clip": 0.3})).loss(sample)
    torch.testing.assert_close(loss, plain * ratio.clamp(min=0.7))
    other = "reverse" if direction == "forward" else "forward"
    assert not torch.allclose(
        plain, make_term(TermConfig(name="policy_kl", options={"direction": other})).loss(sample)
    )


def linear_answers(sample):
    """The sample with a student and a teacher that answer what they see, with gradient."""
    sample.normalised, sample.scale = torch.zeros(3, 4, 5), torch.ones(5)
    sample.respond = lambda seen: Gaussian(seen[..., :2], torch.ones(3, 4, 2))
    sample.ask = lambda groups: Gaussian(2.0 * groups["teacher"][..., :2], torch.ones(3, 4, 2))
    return sample


@pytest.mark.parametrize(("student", "teacher", "whose"), [(9, 0, "student"), (0, 5, "teacher")])
def test_saliency_names_a_position_that_is_not_there(student, teacher, whose):
    options = {"student": [0, student], "teacher": [0, teacher]}
    term = make_term(TermConfig(name="saliency", options=options))
    said = rf"the {whose} has no position {max(student, teacher)}; it sees 5 numbers, use 0 to 4"
    with pytest.raises(TermError, match=said):
        term.loss(linear_answers(make_sample()))


def test_saliency_is_of_what_the_teacher_reads():
    """One that reads the student's observations, though those of teachers are others."""
    term, sample = make_term(TermConfig(name="saliency")), linear_answers(make_sample())
    sample.observations["teacher"] = torch.zeros(3, 4, 9)
    sample.ask = lambda groups: Gaussian(2.0 * groups["student"][..., :2], torch.ones(3, 4, 2))
    torch.testing.assert_close(term.loss(sample), torch.zeros(3, 4))
    sample.ask = lambda groups: Gaussian(groups["student"][..., 2:4], torch.ones(3, 4, 2))
    torch.testing.assert_close(term.loss(sample), torch.full((3, 4), 2.0))  # all of it elsewhere
    sample.ask = lambda groups: Gaussian(groups["teacher"][..., 2:4], torch.ones(3, 4, 2))
    with pytest.raises(TermError, match="see different observations"):
        term.loss(sample)


def test_saliency_needs_answers_with_a_gradient():
    term, sample = make_term(TermConfig(name="saliency")), linear_answers(make_sample())
    torch.testing.assert_close(term.loss(sample), torch.zeros(3, 4))
    answer = sample.ask
    sample.ask = lambda groups: answer({k: v.detach() for k, v in groups.items()})  # as ONNX
    with pytest.raises(TermError, match="no gradient leads from the teacher's action"):
        term.loss(sample)
    sample.respond = lambda seen: Categorical(seen)
    with pytest.raises(TermError, match="no gradient leads from the student's action"):
        term.loss(sample)


def test_robust_asks_for_the_student_s_own_answer_or_for_the_teacher_s():
    """A student that never changes its answer is robust, but need not do what its teacher does."""
    sample = make_sample(normalised=torch.zeros(3, 4, 5))
    sample.respond = lambda normalised: Gaussian(
        sample.student.mean + 0.0 * normalised[..., :1], sample.student.std
    )
    own, taught = (
        make_term(TermConfig(name="robust", options={"target": target, "steps": 2}))
        for target in ("student", "teacher")
    )
    assert (own.taught, taught.taught) == (False, True)
    torch.testing.assert_close(own.loss(sample), torch.zeros(3, 4))
    kl = sample.teacher.distribution.kl(sample.student)
    torch.testing.assert_close(taught.loss(sample), kl)


def test_schedules():
    linear = TermConfig(name="rl", weight=1.0, end=0.0, schedule="linear")
    assert [linear.at(f, 0.0) for f in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    progress = TermConfig(name="rl", weight=0.0, end=0.5, schedule="progress")
    assert [progress.at(0.0, s) for s in (-1.0, 0.0, 0.5, 1.0, 1.2)] == [0, 0, 0.25, 0.5, 0.5]
    assert TermConfig(name="rl", weight=2.0).at(0.7, 0.3) == 2.0


def test_choices_are_not_smooth():
    sample = make_sample(student=Categorical(torch.zeros(3, 4, 2)))
    with pytest.raises(TermError, match="smoothness needs continuous actions"):
        make_term(TermConfig(name="smoothness")).loss(sample)


def test_unknown_names_and_options_say_what_there_is():
    with pytest.raises(TermError, match="policy_kl, cross_entropy"):
        make_term(TermConfig(name="policy"))
    with pytest.raises(TermError, match="has no option 'foo'; it has loss, delta, limit"):
        make_term(TermConfig(name="mean_regression", options={"foo": 2.0}))
    with pytest.raises(TermError, match="term 'entropy' has no option 'foo'; it has none"):
        make_term(TermConfig(name="entropy", options={"foo": 2.0}))
    with pytest.raises(TermError, match="forward"):
        make_term(TermConfig(name="policy_kl", options={"direction": "sideways"}))


@pytest.mark.parametrize(
    ("mode", "share", "refused"),
    [
        ("student", 0.15, False),
        ("student", 0.0, True),
        ("aggregate", 0.0, True),
        ("mixed", 0.0, True),
        ("teacher", 0.15, True),
        ("offline", 0.15, True),
        ("student", 0.0005, True),  # of 512 environments none
    ],
)
def test_progress_is_only_followed_where_student_and_teacher_act(mode, share, refused):
    terms = (TermConfig(name="policy_kl", end=0.1, schedule="progress"),)
    expected = pytest.raises(ValueError, match="giving the teacher a share")
    with expected if refused else nullcontext():
        DistillConfig(mode=mode, teacher_share=share, terms=terms)


@pytest.mark.parametrize(
    ("mode", "share", "refused"),
    [
        ("student", 0.15, False),
        ("mixed", 0.15, False),
        ("offline", 0.15, True),
        ("teacher", 0.15, True),
        ("student", 1.0, True),
        ("mixed", 1.0, True),
    ],
)
def test_terms_on_its_own_acts_alone_are_refused_where_the_student_never_acts(mode, share, refused):
    own = (TermConfig(name="proximal"), TermConfig(name="value"))
    expected = pytest.raises(ValueError, match=r"\(proximal, value\).*does not act.*policy_kl")
    with expected if refused else nullcontext():
        DistillConfig(mode=mode, teacher_share=share, terms=own)
    DistillConfig(mode=mode, teacher_share=share, terms=(*own, TermConfig(name="policy_kl")))

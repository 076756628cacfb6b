"""Terms, teachers, students and modes of a recipe's own, each in a Python file."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from retort.controller import load_bundle
from retort.controller.host import Host, grid
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distributions import Gaussian
from retort.distill.experiment import STUDENT_PARTS, TEACHER_PARTS, Experiment
from retort.distill.ppo import PPOConfig
from retort.distill.stages.finished import distillation_key, load_named, load_student
from retort.distill.stages.rehearsal import RehearsalError, rehearse
from retort.distill.stages.verbs import distil_student, export_bundle, train_teacher
from retort.distill.students import KINDS, MlpStudent, StudentConfig
from retort.distill.students.budget import BudgetError, pick
from retort.distill.students.runtime import check_runtime
from retort.distill.teachers import TeacherOutput
from retort.distill.teachers.mixture import MixtureConfig
from retort.distill.terms import TermConfig, TermError, make_term

from .test_terms import make_sample

FUNCTION = """
def TERM(sample, *, scale: float = 1.0, sign: int = 1):
    off = sample.student.mode() - sample.teacher.distribution.mode()
    return sign * scale * off.abs().sum(-1)
"""
CLASS = """
from retort.distill.terms import Term

class TERM(Term):
    own, taught = True, False

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def loss(self, sample):
        return self.weight * sample.student.mode().square().sum(-1) * sample.own
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "mine.py").write_text(text)
        return str(tmp_path / "mine.py")

    return write


def learning_by(*terms):
    distill = DistillConfig(steps=32 * 24 * 4, num_envs=32, episode_seconds=0.3, terms=terms)
    return dataclasses.replace(Experiment(robot="balancer", task="balancer"), distill=distill)


def test_a_function_of_a_sample_is_a_term_with_its_options(file):
    mean = torch.arange(24.0).view(3, 4, 2)
    student, teacher = Gaussian(mean, mean + 1.0), Gaussian(mean + 2.0, mean + 1.0)
    sample = make_sample(student=student, teacher=TeacherOutput(teacher))
    term = make_term(TermConfig(name=file(FUNCTION), options={"scale": 3}))
    torch.testing.assert_close(term.loss(sample), torch.full((3, 4), 12.0))


def test_a_subclass_of_term_says_of_itself_what_it_is(file):
    term = make_term(TermConfig(name=file(CLASS), options={"weight": 0.5}))
    assert (term.own, term.taught) == (True, False)
    assert term.loss(make_sample()).shape == (3, 4)
    with pytest.raises(ValueError, match=r"distill\.terms \(mine\) learn from what the student"):
        DistillConfig(mode="teacher", terms=(TermConfig(name=file(CLASS)),))


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (FUNCTION, {"scales": 1.0}, r"no option 'scales'; it has scale, sign"),
        (FUNCTION, {"scale": "much"}, r"scale must be a number, got 'much'"),
        (FUNCTION, {"scale": -1.0}, r"scale is -1\.0; use a finite number, at least 0"),
        ("def TERM(sample, scale): ...", {}, r"'scale' has no type; write it, as in scale: float"),
        ("def TERM(sample, scale: float): ...", {}, r"missing a required argument: 'scale'"),
        ("TERM = 3", {}, r"TERM of .*mine\.py is 3; let it be a function of a Sample or a"),
        ("class TERM: ...", {}, r"let it be a function of a Sample or a subclass of Term"),
        ("loss = 3", {}, r"mine\.py defines no TERM; set TERM = "),
    ],
)
def test_what_is_no_term_or_no_option_of_it_is_refused_in_a_sentence(file, text, options, words):
    with pytest.raises(TermError, match=words):
        make_term(TermConfig(name=file(text), options=options))


def test_a_name_that_is_none_and_a_file_that_is_not_there_say_what_there_is():
    with pytest.raises(TermError, match=r"no term 'sparse'; there are .*, or name a \.py file"):
        make_term(TermConfig(name="sparse"))
    with pytest.raises(TermError, match=r"there is no file sparse\.py; give the path of one"):
        make_term(TermConfig(name="sparse.py"))


def test_a_loss_that_is_not_one_number_per_sample_is_found_before_anything_trains(file):
    mean = "def TERM(sample):\n    return sample.student.mode().square().mean()\n"
    with pytest.raises(RehearsalError, match=r"terms\[0\] \(mine\): its loss has the shape \(\)"):
        rehearse(learning_by(TermConfig(name=file(mean))))
    rehearse(learning_by(TermConfig(name=file(FUNCTION))))
    deaf = FUNCTION.replace("off.abs()", "off.detach().abs()")
    with pytest.raises(RehearsalError, match=r"\(mine\): its loss has no gradient, .* detach\(\)"):
        rehearse(learning_by(TermConfig(name=file(deaf))))
    broken = FUNCTION.replace("off.abs()", "off[7].abs()")
    words = r"mine\.py, line 4: IndexError: index 7 is out of bounds"
    with pytest.raises(RehearsalError, match=words):
        rehearse(learning_by(TermConfig(name=file(broken))))
    undefined = "def TERM(sample):\n    return sample.student.mode().sum(-1) * float('nan')\n"
    with pytest.raises(RehearsalError, match=r"\(mine\): its loss is nan before .* leave this ter"):
        rehearse(learning_by(TermConfig(name=file(undefined))))


def test_what_stands_in_the_file_belongs_to_what_a_student_learns_by(file):
    experiment = learning_by(TermConfig(name=file(FUNCTION)))
    before = [experiment.key(parts) for parts in (TEACHER_PARTS, STUDENT_PARTS)]
    file(FUNCTION + "\n# another one\n")
    after = [experiment.key(parts) for parts in (TEACHER_PARTS, STUDENT_PARTS)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]
    plain = learning_by(TermConfig(name="policy_kl"))
    assert "code" not in json.loads(plain.key(STUDENT_PARTS))  # as it was before there was any


TEACHER = """
import torch
from retort.distill.distributions import Gaussian
from retort.distill.teachers import TeacherOutput

class TEACHER:
    def __init__(self, env, std: float = 0.2):
        self.std, self.actions = std, env.single_action_space.shape[0]

    def initial_state(self, n):
        return torch.zeros(n, 0)

    def __call__(self, observations, state, resets):
        mean = observations["teacher"][..., :self.actions].tanh()
        return TeacherOutput(Gaussian(mean, torch.full_like(mean, self.std))), state
"""


def taught_by(entry, **changes):
    mixture = MixtureConfig(others=(entry,), weights=(0.0, 1.0))
    experiment = learning_by(TermConfig(name="policy_kl"))
    distill = dataclasses.replace(experiment.distill, teachers=mixture, **changes)
    return dataclasses.replace(experiment, distill=distill)


def test_a_teacher_in_code_teaches_with_its_options(file, tmp_path):
    experiment = taught_by({"file": file(TEACHER), "std": 0.5}, teacher_share=0.0)
    rehearse(experiment)
    env = experiment.world.make_env(2, episode_seconds=0.3)
    assert load_named(experiment, 0, experiment.distill.teachers.named[0], env).std == 0.5
    small = PPOConfig(steps=32 * 24 + 1, num_envs=32, hidden=(4,), critic_hidden=(4,))
    experiment = dataclasses.replace(
        experiment, teacher=small, curriculum=CurriculumConfig(kind="none")
    )
    train_teacher(experiment, tmp_path / "run")
    rows = []
    distil_student(experiment, tmp_path / "run", progress=rows.append)
    assert rows[-1]["terms"]["policy_kl"] < rows[0]["terms"]["policy_kl"]
    before = distillation_key(experiment)
    file(TEACHER.replace("tanh", "sin"))
    assert distillation_key(experiment) != before


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (
            TEACHER,
            {"noise": 1.0},
            r"others\[0\]: the teacher .*mine\.py takes no option 'noise'; i",
        ),
        (
            TEACHER,
            {"std": "much"},
            r"others\[0\]: the teacher .*: std must be a number, got 'much'",
        ),
        ("TEACHER = 3", {}, r"TEACHER of .*mine\.py is 3; let it be a class or function that mak"),
        ("teacher = 3", {}, r"mine\.py defines no TEACHER"),
    ],
)
def test_what_is_no_teacher_or_no_option_of_it_is_refused_when_it_is_read(
    file, text, options, words
):
    with pytest.raises(ValueError, match=words):
        MixtureConfig(others=({"file": file(text), **options},))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            TEACHER.replace("[..., :self.actions]", ""),
            r"others\[0\]: the teacher .* says continuous actions of .* let it say .* \(1, 2, 2\)",
        ),
        (
            TEACHER.replace("Gaussian(mean, torch.full_like(mean, self.std))", "Categorical(mean)")
            + "\nfrom retort.distill.distributions import Categorical",
            r"says a Categorical of shape \(1, 2\) over 2 choices .* those of Box",
        ),
        (
            TEACHER.replace(
                "TeacherOutput(Gaussian(mean, torch.full_like(mean, self.std)))", "mean"
            ),
            r"others\[0\]: the teacher .* gives a tuple; let it give a TeacherOutput and its",
        ),
        (
            TEACHER.replace("self.std))", "float('nan')))"),
            r"what the teacher does is not finite in 2 of 2 environments",
        ),
    ],
)
def test_a_teacher_of_other_actions_is_found_before_anything_trains(file, text, words):
    with pytest.raises(RehearsalError, match=words):
        rehearse(taught_by(file(text)))


STUDENT = (Path(__file__).parents[1] / "contracts" / "own_student.py").read_text()
_TCN = "TcnStudent.architecture.groups"


def with_student(kind, **changes):
    experiment = learning_by(TermConfig(name="policy_kl"))
    return dataclasses.replace(experiment, student=StudentConfig(kind=kind, **changes))


def test_a_student_of_the_runtime_s_layers_trains_is_exported_and_runs_as_it_learnt(file, tmp_path):
    small = PPOConfig(steps=32 * 24 + 1, num_envs=32, hidden=(4,), critic_hidden=(4,))
    experiment = dataclasses.replace(
        with_student(file(STUDENT), hidden=(6,), channels=(5,)),
        teacher=small,
        curriculum=CurriculumConfig(kind="none"),
    )
    rehearse(experiment)
    train_teacher(experiment, tmp_path / "run")
    distil_student(experiment, tmp_path / "run")
    bundle = load_bundle(export_bundle(experiment, tmp_path / "run"))  # golden vectors agree
    assert [group for group, _ in bundle.meta["architecture"]["groups"]] == [
        "dense",
        "convolution",
        "dense",
    ]
    assert bundle.policy.state_size == load_student(experiment, tmp_path / "run").state_size > 0


def test_another_student_in_the_file_is_another_experiment_and_the_same_teacher(file):
    experiment = with_student(file(STUDENT))
    before = [experiment.key(parts) for parts in (TEACHER_PARTS, STUDENT_PARTS)]
    file(STUDENT + "\n")
    after = [experiment.key(parts) for parts in (TEACHER_PARTS, STUDENT_PARTS)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("_dense(self.encoder, x, {})", "encoder[0](x)"), r"act otherwise than the robot's runt"),
        (("_dense(self.encoder, x, {})", "_dense(self.encoder, x, {}) + x"), r"let _run be those"),
        (
            ('(("dense", "encoder"), *TcnStudent.architecture.groups)', _TCN),
            r"cannot read .*: the policy holds tensors that its",
        ),
        (('"dense", "encoder"', '"gru", "encoder"'), r"cannot read .* encoder\.hidden\.weight"),
    ],
)
def test_what_the_robot_could_not_run_is_found_before_anything_trains(file, change, words):
    assert change[0] in STUDENT
    with pytest.raises(RehearsalError, match=words):
        rehearse(with_student(file(STUDENT.replace(*change))))


def test_a_student_of_other_actions_is_found_before_anything_trains(file):
    text = (
        "from retort.distill.distributions import Gaussian\n"
        "from retort.distill.students import MlpStudent\n"
        "class STUDENT(MlpStudent):\n"
        "    def distribution(self, output):\n"
        "        said = super().distribution(output)\n"
        "        return Gaussian(said.mean[..., :1], said.std[..., :1])\n"
    )
    with pytest.raises(
        RehearsalError, match=r"the student .*mine\.py says continuous .* \(1, 2, 1"
    ):
        rehearse(with_student(file(text)))


def test_a_student_that_remembers_more_than_the_robot_does_is_found_too(file):
    text = "from retort.distill.students import MlpStudent\nclass STUDENT(MlpStudent):\n"
    with pytest.raises(RehearsalError, match=r"remember 1 numbers and the robot's runtime 0"):
        rehearse(with_student(file(text + "    state_size = 1\n")))


def test_what_is_no_student_is_refused_when_it_is_read(file):
    for kind, words in (
        ("linear", r"student\.kind is 'linear'; use one of mlp, gru, tcn, or name a \.py file"),
        ("linear.py", r"student\.kind: there is no file linear\.py"),
        (file("STUDENT = dict"), r"STUDENT of .* is <class 'dict'>; let it be a subclass of Stud"),
    ):
        with pytest.raises(ValueError, match=words):
            with_student(kind)
    with pytest.raises(ValueError, match=r"student\.whiten is of kind = 'mlp' and 'tcn'"):
        with_student(file(STUDENT), whiten=True)


def test_a_new_kind_is_one_class_and_one_line(monkeypatch):
    class Linear(MlpStudent):
        def __init__(self, config, interface):
            super().__init__(dataclasses.replace(config, hidden=()), interface)

    monkeypatch.setitem(KINDS, "linear", Linear)
    experiment = with_student("linear")
    rehearse(experiment)
    student, _ = experiment.make_learner(4)
    check_runtime(student, torch.randn(3, 2, student.interface.observation_size))
    host = Host(machine={}, versions={}, steps=1, timings=tuple(grid(("elu",))))
    with pytest.raises(BudgetError, match=r"kind 'linear' take is not known, since .* mlp, gru, t"):
        pick(host, experiment.student, student.interface, 50.0)


def test_a_mode_in_a_file_is_one_and_what_stands_there_belongs_to_what_was_learnt(file):
    text = "from retort.distill.modes import Mode\nMODE = Mode(share=lambda own, fraction: 0.5)\n"
    mode = file(text)
    config = DistillConfig(mode=mode, teacher_share=0.0)
    assert config.share(0.3) == 0.5
    experiment = dataclasses.replace(learning_by(TermConfig(name="policy_kl")), distill=config)
    before = experiment.key(STUDENT_PARTS)
    file(text.replace("0.5", "0.25"))
    assert experiment.key(STUDENT_PARTS) != before
    for name, words in (
        ("clone", r"mode is 'clone'; use one of offline, .*, or name a \.py file"),
        ("clone.py", r"distill\.mode: there is no file clone\.py"),
        (file("MODE = 3"), r"distill\.mode: MODE of .* is 3; let it be a Mode"),
    ):
        with pytest.raises(ValueError, match=words):
            DistillConfig(mode=name)
    for share in ("fraction", "2.0 - fraction"):
        with pytest.raises(ValueError, match=r"within 0 to 1 and never rise"):
            DistillConfig(mode=file(text.replace("0.5", share)))
    both = file(text.replace("0.5", "0.5, keeps=True, teacher_learns=True"))
    with pytest.raises(ValueError, match=r"distill\.mode: .* no longer say .* use one of keeps"):
        DistillConfig(mode=both)

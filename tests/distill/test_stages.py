"""From experiment to bundle: resuming to the bit, exports, refusals."""

import ctypes
import dataclasses
import json
import os
import signal
import subprocess

import numpy as np
import onnxruntime
import pytest
import torch
from retort.controller import load_bundle
from retort.distill.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from retort.distill.concurrent import ConcurrentConfig
from retort.distill.curriculum import CurriculumConfig
from retort.distill.distill_config import DistillConfig
from retort.distill.distributions import Gaussian
from retort.distill.evaluation import EvaluationConfig, run_episodes
from retort.distill.experiment import Experiment
from retort.distill.ppo import PPO, PPOConfig
from retort.distill.sources.adversary import AdversaryConfig
from retort.distill.stages import verbs as stages
from retort.distill.stages.finished import load_teacher, load_teachers, require_teachers
from retort.distill.stages.rehearsal import RehearsalError, rehearse
from retort.distill.students import StudentConfig
from retort.distill.teachers.foreign import ForeignTeacherError
from retort.distill.teachers.mixture import MixtureConfig, MixtureError
from retort.distill.terms import TermConfig
from retort.hardware import RetortError

TAUGHT, BATCH = 32 * 24, 16 * 16  # steps of a teacher's iteration, and of a student's
SMALL = Experiment(
    robot="balancer",
    task="balancer",
    teacher=PPOConfig(steps=TAUGHT * 8, num_envs=32, hidden=(16,), critic_hidden=(16,)),
    distill=DistillConfig(
        steps=BATCH * 8, num_envs=16, ticks=16, episode_seconds=0.3, critic_hidden=(16,)
    ),
    curriculum=CurriculumConfig(window=4, teacher_least=2),
    evaluation=EvaluationConfig(episodes=3, seconds=0.5, hardest_episodes=4, hardest_seconds=0.5),
)


def flat(state, prefix=""):
    for key, value in state.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    stages.train_teacher(SMALL, folder)
    stages.distil_student(SMALL, folder)
    stages.export_bundle(SMALL, folder)
    return folder


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("teacher", signal.SIGINT),
        ("teacher", signal.SIGTERM),
        ("teacher", signal.SIGHUP),
        ("distillation", signal.SIGINT),
    ],
)
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does_to_the_bit(
    finished, tmp_path, stage, number
):
    if stage == "distillation":
        (tmp_path / "teacher").symlink_to(finished / "teacher")
    verb = {"teacher": stages.train_teacher, "distillation": stages.distil_student}[stage]
    seen = []

    def interrupt(figures):
        seen.append(figures["steps"])
        if len(seen) == 3:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        verb(SMALL, tmp_path, progress=interrupt)
    assert len(seen) == 3  # the iteration under way was finished, no other begun
    verb(SMALL, tmp_path)
    name = f"{stage}/checkpoint.safetensors"
    expected = dict(flat(load_checkpoint(finished / name)))
    got = dict(flat(load_checkpoint(tmp_path / name)))
    assert got.keys() == expected.keys()
    for key in expected:
        if key == "seconds":
            continue
        if isinstance(expected[key], torch.Tensor):
            assert torch.equal(got[key], expected[key]), key
        else:
            assert got[key] == expected[key], key
    rows = (tmp_path / stage / "progress.jsonl").read_text().splitlines()
    batch = TAUGHT if stage == "teacher" else BATCH
    steps = [json.loads(row)["steps"] for row in rows]
    assert steps == [batch * k for k in range(2, 9)]  # the first gives scale


def test_the_gate_measures_the_teacher_that_drives_in_episodes_like_those_of_distillation(
    finished, tmp_path, monkeypatch
):
    """The run's own has no weight: it is another that students are compared with."""
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    mixture = MixtureConfig(others=(str(finished),), weights=(0.0, 1.0))
    changes = {"teachers": mixture, "event_rate": 3.0}
    recipe = dataclasses.replace(SMALL, distill=dataclasses.replace(SMALL.distill, **changes))
    loaded, measured, rates = [], [], []
    load, make = stages.load_teachers, type(recipe.world).make_env

    def teachers(*given):
        loaded.extend(load(*given))
        return loaded

    def env(world, num_envs, **given):
        rates.append(given.get("event_rate"))
        return make(world, num_envs, **given)

    def score(_, teacher):
        measured.append(teacher)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "load_teachers", teachers)
    monkeypatch.setattr(type(recipe.world), "make_env", env)
    monkeypatch.setattr(stages, "_teacher_score", score)
    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(recipe, tmp_path)
    assert measured == [loaded[1]]
    assert set(rates) == {3.0}


def test_the_gate_knows_what_the_teacher_earns_where_it_is_easy(finished, tmp_path, monkeypatch):
    teacher = load_teacher(SMALL, finished)
    env = SMALL.world.make_env(200, level=0.0, episode_seconds=0.3, autoreset=False)
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def act(groups, state, reset):  # with its own exploration, as it drives
        return teacher.actor(groups["teacher"]).sample(generator), None, state

    score = run_episodes(env, act, 7).score.mean()
    measure, measured = stages._teacher_score, []

    def better(*given):
        measured.append(measure(*given) + 5.0)
        return measured[0]

    monkeypatch.setattr(stages, "_teacher_score", better)
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(SMALL, tmp_path)
    known = load_checkpoint(tmp_path / "distillation" / "checkpoint.safetensors")["curriculum"]
    assert known["best_gain"] == pytest.approx(measured[0] - known["random_score"][0])
    assert measured[0] - 5.0 == pytest.approx(score, abs=0.03)


def test_a_finished_stage_does_nothing_more(finished):
    path = finished / "teacher" / "checkpoint.safetensors"
    before = path.stat().st_mtime_ns
    stages.train_teacher(SMALL, finished)
    assert path.stat().st_mtime_ns == before


def test_another_recipe_is_refused_and_nothing_is_lost(finished):
    import dataclasses

    path = finished / "teacher" / "checkpoint.safetensors"
    before = path.read_bytes()
    other = dataclasses.replace(SMALL, seed=2)
    with pytest.raises(CheckpointError, match="different recipe"):
        stages.train_teacher(other, finished)
    assert path.read_bytes() == before


def test_a_stage_without_the_one_before_it_says_what_to_run(tmp_path):
    with pytest.raises(RetortError, match="retort train"):
        stages.distil_student(SMALL, tmp_path)
    with pytest.raises(RetortError, match="retort distill"):
        stages.export_bundle(SMALL, tmp_path)


def test_evaluation_gives_every_level_and_is_the_same_twice(finished):
    first = stages.evaluate(SMALL, finished)
    assert [row["level"] for row in first["levels"]] == [0, 1, 2, 3, 4]
    assert first["hardest"]["episodes"] == 4
    for row in (*first["levels"], first["hardest"]):
        for who in ("teacher", "student"):
            assert row[who]["score_low"] <= row[who]["score"] <= row[who]["score_high"]
        for name in ("ratio", "normalised", "difference"):
            if row[name] is not None:  # undefined for so poor a teacher
                assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]
        gap = row["student"]["score"] - row["teacher"]["score"]
        assert row["difference"]["value"] == pytest.approx(gap)
        assert np.isfinite(row["random"]["score"])
    assert first == stages.evaluate(SMALL, finished)
    assert json.loads((finished / "evaluation.json").read_text()) == first


def test_onnx_and_c_give_the_golden_actions(finished, tmp_path):
    bundle = load_bundle(finished / "student")
    observations = bundle.golden.observation.reshape(-1, bundle.contract.observation_size)
    actions = bundle.golden.action.reshape(-1, bundle.contract.action_size)
    session = onnxruntime.InferenceSession(str(finished / "student" / "policy.onnx"))
    got = np.concatenate([session.run(None, {"observation": o[None]})[0] for o in observations])
    np.testing.assert_allclose(got, actions, atol=1e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["contract_hash"] == bundle.contract.hash()
    source = tmp_path / "policy.c"
    source.write_text(
        '#include "policy.h"\nstatic retort_state state;\n'
        "void run(const float *o, float *a) { retort_policy(&state, o, a); }\n"
    )
    library = tmp_path / "policy.so"
    include = f"-I{finished / 'student'}"
    command = ["cc", "-std=c99", "-Wall", "-Werror", "-O2", "-shared", "-fPIC", include]
    subprocess.run([*command, str(source), "-o", str(library), "-lm"], check=True)
    run = ctypes.CDLL(str(library)).run
    pointer = ctypes.POINTER(ctypes.c_float)
    for observation, action in zip(observations, actions, strict=True):
        out = np.zeros(2, dtype=np.float32)
        row = np.ascontiguousarray(observation, dtype=np.float32)
        run(row.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
        np.testing.assert_allclose(out, action, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "teacher"},
        {"mode": "mixed"},
        {"mode": "aggregate", "kept_batches": 2},
        {"terms": (TermConfig(name="corrected", end=0.1, schedule="linear"),)},
        {"adversary": AdversaryConfig(epsilon=0.1, hold=5)},
    ],
    ids=str,
)
def test_every_way_to_distil_resumes_to_the_bit(finished, tmp_path, changes):
    chosen = dataclasses.replace(SMALL, distill=dataclasses.replace(SMALL.distill, **changes))
    resumes_to_the_bit(finished, tmp_path, chosen)


@pytest.mark.parametrize(
    "changes", [{"whiten": True}, {"kind": "tcn", "channels": (4,), "whiten": True}], ids=str
)
def test_a_student_that_whitens_resumes_to_the_bit(finished, tmp_path, changes):
    student = dataclasses.replace(SMALL.student, **changes)
    resumes_to_the_bit(finished, tmp_path, dataclasses.replace(SMALL, student=student))
    saved = load_checkpoint(tmp_path / "whole" / "distillation" / "checkpoint.safetensors")
    [matrix] = (v for key, v in flat(saved) if key.endswith("student/whitening.matrix"))
    assert not torch.equal(matrix, torch.eye(len(matrix)))


@pytest.mark.parametrize("kind", ["promoted", "particles"])
def test_every_curriculum_resumes_to_the_bit(finished, tmp_path, kind):
    # Levels move on whatever little is earned in a moment.
    curriculum = CurriculumConfig(
        kind=kind, particles=2, window=2, teacher_least=2, start=2, traversable=(0.0, 10.0)
    )
    distill = dataclasses.replace(SMALL.distill, teacher_share=0.5)
    chosen = dataclasses.replace(SMALL, curriculum=curriculum, distill=distill)
    resumes_to_the_bit(finished, tmp_path, chosen)
    rows = (tmp_path / "parts" / "distillation" / "progress.jsonl").read_text().splitlines()
    played = [json.loads(row)["level_histogram"] for row in rows]
    before, after = played[:3], played[3:]  # of the interruption
    for part in (before, after):
        assert any(levels != part[0] for levels in part), played


def resumes_to_the_bit(finished, tmp_path, chosen):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        (folder / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(chosen, whole)

    def interrupt(figures):
        if figures["steps"] >= BATCH * 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(chosen, parts, progress=interrupt)
    stages.distil_student(chosen, parts)
    ends = [
        dict(flat(load_checkpoint(folder / "distillation" / "checkpoint.safetensors")))
        for folder in (whole, parts)
    ]
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, ends[1][key]), key
        elif key.split("/")[-1] != "seconds":
            assert value == ends[1][key], key


def test_a_checkpoint_of_another_version_is_refused_in_a_sentence(finished, tmp_path):
    (tmp_path / "teacher").symlink_to(finished / "teacher")

    def interrupt(figures):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(SMALL, tmp_path, progress=interrupt)
    path = tmp_path / "distillation" / "checkpoint.safetensors"
    state = load_checkpoint(path)
    for axis in state["curriculum"]["axes"]:
        del axis["taught"]
    save_checkpoint(path, state)
    with pytest.raises(CheckpointError, match=r"lacks 'taught', as another version .* --fresh"):
        stages.distil_student(SMALL, tmp_path)


class Remembering:
    """A teacher whose action hangs on all that was seen in the episode."""

    def __init__(self, teacher):
        self.teacher = teacher

    def initial_state(self, n):
        return torch.zeros(n, 1)

    def __call__(self, observations, state, resets):
        said, _ = self.teacher(observations, torch.zeros(resets.shape[1], 0), resets)
        seen = []
        for now, reset in zip(observations["teacher"], resets, strict=True):
            state = torch.where(reset[:, None], torch.zeros_like(state), state)
            state = 0.99 * state + 0.01 * now.mean(-1, keepdim=True)
            seen.append(state)
        mean = said.distribution.mean + torch.tanh(torch.stack(seen))
        return dataclasses.replace(said, distribution=Gaussian(mean, said.distribution.std)), state


@pytest.mark.parametrize(
    "changes", [{"mode": "student"}, {"mode": "aggregate", "kept_batches": 2}], ids=str
)
def test_a_teacher_that_remembers_resumes_to_the_bit(finished, tmp_path, monkeypatch, changes):
    load = stages.load_teachers
    monkeypatch.setattr(stages, "load_teachers", lambda *given: [Remembering(*load(*given))])
    test_every_way_to_distil_resumes_to_the_bit(finished, tmp_path, changes)
    saved = load_checkpoint(tmp_path / "whole" / "distillation" / "checkpoint.safetensors")
    assert saved["learner"]["teacher_states"]["0"].unique().numel() == 16


def test_a_teacher_that_goes_on_learning_resumes_to_the_bit_and_is_the_one_evaluated(
    finished, tmp_path
):
    both = dataclasses.replace(
        SMALL,
        distill=dataclasses.replace(
            SMALL.distill,
            mode="concurrent",
            teacher_share=0.75,
            concurrent=ConcurrentConfig(shared_layers=1, shared_critic_layers=1, pull=0.1),
        ),
        student=StudentConfig(hidden=(16,)),
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        (folder / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(both, whole)

    def interrupt(figures):
        if figures["steps"] >= BATCH * 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(both, parts, progress=interrupt)
    stages.distil_student(both, parts)
    ends = [
        dict(flat(load_checkpoint(folder / "distillation" / "checkpoint.safetensors")))
        for folder in (whole, parts)
    ]
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, ends[1][key]), key
    before = load_checkpoint(finished / "teacher" / "checkpoint.safetensors")["learner"]["actor"]
    now = load_teacher(both, whole).actor.state_dict()
    assert not torch.equal(before["network.0.weight"], now["network.0.weight"])
    assert stages.evaluate(both, whole)["hardest"]["episodes"] == 4


def test_a_second_teacher_is_named_by_its_run_folder(finished, tmp_path):
    pair = dataclasses.replace(
        SMALL,
        distill=dataclasses.replace(
            SMALL.distill, teachers=MixtureConfig(others=(str(finished),), weights=(0.5, 0.5))
        ),
    )
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    stages.distil_student(pair, tmp_path)
    one = load_checkpoint(finished / "distillation" / "checkpoint.safetensors")["learner"]
    two = load_checkpoint(tmp_path / "distillation" / "checkpoint.safetensors")["learner"]
    assert int(two["queries"]) == 2 * int(one["queries"])
    torch.testing.assert_close(  # the same teacher twice is that teacher
        one["student"]["layers.0.weight"], two["student"]["layers.0.weight"], rtol=1e-2, atol=1e-2
    )


UNLIKE = dataclasses.replace(
    SMALL,
    seed=3,
    teacher=dataclasses.replace(
        SMALL.teacher, steps=TAUGHT * 2, activation="relu", gamma=0.9, reward_scale="return"
    ),
)


def taught_beside(other, **changes):
    """``SMALL``, with the teacher of the run folder ``other`` beside its own."""
    mixture = MixtureConfig(others=(str(other),), **changes)
    return dataclasses.replace(SMALL, distill=dataclasses.replace(SMALL.distill, teachers=mixture))


@pytest.fixture(scope="module")
def unlike(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlike")
    stages.train_teacher(UNLIKE, folder)
    return folder


def test_a_damaged_second_teacher_is_said_before_anything_is_trained(tmp_path):
    pair = taught_beside(tmp_path / "other")
    rehearse(pair)  # it may still be to come
    (tmp_path / "other" / "teacher").mkdir(parents=True)
    rehearse(pair)
    (tmp_path / "other" / "teacher" / "checkpoint.safetensors").write_bytes(b"cut short")
    with pytest.raises(RehearsalError, match=r"checkpoint\.safetensors"):
        rehearse(pair)


def test_a_second_teacher_says_what_it_said_in_its_own_run(finished, unlike):
    env = UNLIKE.world.make_env(5, episode_seconds=0.3)
    ppo = PPO(UNLIKE.teacher, env, 0)
    ppo.load_state_dict(load_checkpoint(unlike / "teacher" / "checkpoint.safetensors")["learner"])
    seen = torch.randn(3, 5, env.teacher_size, generator=torch.Generator().manual_seed(0))
    _, teacher = load_teachers(taught_beside(unlike), finished, env)
    said, _ = teacher({"teacher": seen}, torch.zeros(5, 0), torch.zeros(3, 5).bool())
    torch.testing.assert_close(said.distribution.mean, ppo.actor(seen).mean)
    torch.testing.assert_close(said.value, ppo.critic_of_returns()(seen))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weighting": "value"}, r"of gamma 0\.985 and .* 3, gamma 0\.9 and .*'fixed'"),
        ({"gated": True}, r"the student is of gamma 0\.985 .* of gamma 0\.985 .*, gamma 0\.9 and"),
    ],
    ids=str,
)
def test_values_that_count_other_things_are_not_compared(
    finished, unlike, tmp_path, changes, words
):
    pair = taught_beside(unlike, **changes)
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    words = f"values that count different things cannot be compared.*{words}"
    with pytest.raises(RehearsalError, match=words):
        rehearse(pair)
    with pytest.raises(MixtureError, match=words):
        stages.distil_student(pair, tmp_path)
    deaf = dataclasses.replace(pair.distill.teachers, weighting="fixed", weights=(1.0, 0.0))
    rehearse(dataclasses.replace(pair, distill=dataclasses.replace(pair.distill, teachers=deaf)))


def test_a_second_teacher_that_is_not_finished_is_refused(finished, tmp_path):
    other = tmp_path / "other"

    def interrupt(figures):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.train_teacher(SMALL, other, progress=interrupt)
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    rehearse(taught_beside(other))  # as beside one that is still to come
    steps = f"{2 * TAUGHT} of {8 * TAUGHT} steps"
    words = rf"stands at {steps}; run `retort train RECIPE --out {other}` to finish it"
    for verb in (require_teachers, stages.distil_student):
        with pytest.raises(RetortError, match=words):
            verb(taught_beside(other), tmp_path)
    stages.train_teacher(SMALL, other)
    require_teachers(taught_beside(other), tmp_path)


def test_distillation_does_not_go_on_with_another_teacher_in_the_place_of_one(finished, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("teacher", "other/teacher"):
        (tmp_path / name).symlink_to(finished / "teacher")

    def interrupt(figures):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stages.distil_student(taught_beside(other), tmp_path, progress=interrupt)
    (other / "teacher").unlink()
    stages.train_teacher(dataclasses.replace(SMALL, seed=2), other)
    with pytest.raises(CheckpointError, match="a different recipe or other teachers"):
        stages.distil_student(taught_beside(other), tmp_path)
    stages.distil_student(taught_beside(other), tmp_path, fresh=True)


@pytest.mark.parametrize("name", ["typo.zip", "runs/typo"])
def test_a_second_teacher_that_is_not_there_is_said_to_be_missing(finished, tmp_path, name):
    named = MixtureConfig(others=(str(tmp_path / name),))
    other = dataclasses.replace(SMALL, distill=dataclasses.replace(SMALL.distill, teachers=named))
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    said = rf"there is no .*{name}.*run folder, a file of sb3 \(\.zip\), rsl_rl \(\.pt\), onnx"
    with pytest.raises(ForeignTeacherError, match=said):
        require_teachers(other, tmp_path)
    with pytest.raises(ForeignTeacherError, match=rf"there is no .*{name}.*give the path|{said}"):
        stages.distil_student(other, tmp_path)


def test_a_teacher_from_elsewhere_is_named_by_its_file_and_must_fit(finished, tmp_path):
    file = tmp_path / "other.onnx"
    file.write_bytes(b"nothing of the kind")
    other = dataclasses.replace(
        SMALL,
        distill=dataclasses.replace(SMALL.distill, teachers=MixtureConfig(others=(str(file),))),
    )
    (tmp_path / "teacher").symlink_to(finished / "teacher")
    with pytest.raises(RetortError, match=r"other\.onnx"):
        stages.distil_student(other, tmp_path)

"""Recipes are strict, and what was run can be run again."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from retort.hardware.checks import RangeError
from retort.launch.cli import main
from retort.launch.files import FileError
from retort.launch.recipe import RECIPES, RecipeError, load_recipe, plain, save_recipe
from retort.sim import ModelError, TaskError
from retort.sim.switches import SwitchError

ROBOTS = [path.stem for path in RECIPES.glob("*.toml") if load_recipe(path.stem).robot]
SMALL = 'robot = "balancer"\ntask = "balancer"\n'


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_what_it_names_is_there(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe.name == path.stem
    recipe.check()


@pytest.mark.parametrize(
    ("trained", "evaluated", "held_out"),
    [
        (1, 1, False),
        (1, 2, False),
        (1, 5, False),
        (1, 6, True),
        (7000, 5801, False),
        (7000, 5800, True),
    ],
)
def test_episodes_of_the_evaluation_are_held_out(
    small: Path, trained: int, evaluated: int, held_out: bool
) -> None:
    recipe = load_recipe(small, [f"seed={trained}", f"evaluation.seed={evaluated}"])
    if held_out:
        recipe.check()
    else:
        with pytest.raises(RangeError, match=f"evaluation.seed is {evaluated}, and training with"):
            recipe.check()


@pytest.mark.parametrize("verb", ["launch", "eval"])
def test_an_evaluation_that_is_not_held_out_is_refused_at_once(
    small: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = small.parent / "run"
    assert main([verb, str(small), "--set", "evaluation.seed=2", "--out", str(out)]) == 2
    assert "use more than 5, so that they are held out" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ROBOTS)
def test_a_shipped_recipe_commands_what_its_contract_takes(name: str) -> None:
    recipe = load_recipe(name)
    _, _, contract = recipe.robot_world().load()
    for step in recipe.run.command:
        assert len(step.values) == len(contract.command)
        for value, spec in zip(step.values, contract.command, strict=True):
            assert spec.low <= value <= spec.high


def test_the_balancer_s_run_is_as_hard_as_promised() -> None:
    recipe = load_recipe("balancer")
    assert recipe.run.seconds >= 30
    assert len(recipe.virtual.push_times) >= 5
    assert max(recipe.virtual.push_times) < recipe.run.seconds
    assert recipe.virtual.push_impulse >= 0.15
    assert recipe.virtual.drop + recipe.virtual.corrupt >= 0.01


def test_a_recipe_is_named_after_its_file(small: Path) -> None:
    assert load_recipe(small).name == "small"


def test_an_unknown_key_lists_the_valid_ones(small: Path) -> None:
    small.write_text(SMALL + "[run]\nsecond = 3\n")
    with pytest.raises(RecipeError, match=r"'second'.*command, port, seconds"):
        load_recipe(small)


def test_a_wrong_key_is_one_sentence_on_the_command_line(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(small), "--set", "teachers.steps=3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("retort: ")
    assert "teachers" in said
    assert len(said.strip().splitlines()) == 1


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match="balancer"):
        load_recipe("no-such-recipe")


@pytest.mark.parametrize(
    "text",
    [
        "seconds = 0.0",
        "seconds = nan",
        "command = [{time=0.0, values=[nan]}]",
        "command = [{time=1.0, values=[0.0]}, {time=1.0, values=[0.0]}]",
    ],
)
def test_values_that_cannot_be_are_refused(small: Path, text: str) -> None:
    small.write_text(f"{SMALL}[run]\n{text}\n")
    with pytest.raises(RecipeError, match="run"):
        load_recipe(small)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "..", ""])
def test_a_recipe_s_name_stays_within_runs(small: Path, name: str) -> None:
    with pytest.raises(RecipeError, match="name is"):
        load_recipe(small, [f'name="{name}"'])


def test_a_recipe_that_cannot_be_written_is_said_and_left_as_it_was(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(small)

    def full(path: Path, text: str, **_: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FileError, match=r"small\.toml cannot be written \(No space.*make room"):
        save_recipe(recipe, small)
    assert small.read_text() == SMALL
    assert list(small.parent.iterdir()) == [small]


def test_overrides_are_typed_as_toml(small: Path) -> None:
    overrides = ["run.seconds=5", "virtual.push_times=[1, 2.5]", "run.port=/dev/ttyUSB0", "seed=4"]
    recipe = load_recipe(small, overrides)
    assert recipe.run.seconds == 5.0
    assert recipe.virtual.push_times == (1.0, 2.5)
    assert recipe.run.port == "/dev/ttyUSB0"
    assert recipe.seed == 4


@pytest.mark.parametrize("override", ["seed", "=3", "seed.sub=3", "seed=1.5"])
def test_a_wrong_override_is_refused(small: Path, override: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(small, ["seed=1", override])


def test_quotes_that_the_shell_took_are_missed(small: Path) -> None:
    with pytest.raises(RecipeError, match=r"is not as TOML writes it .*shell takes quotes away"):
        load_recipe(small, ["distill.terms=[{name=policy_kl}]"])


def test_a_data_set_given_by_path_is_relative_to_the_recipe_and_an_id_stays(small: Path) -> None:
    (small.parent / "data-set").mkdir()
    for name, expected in (("data-set", str(small.parent / "data-set")), ("a/b-v0", "a/b-v0")):
        small.write_text(f'{SMALL}[distill]\nmode = "offline"\ndataset = "{name}"\n')
        assert load_recipe(small).distill.dataset == expected


def test_teachers_given_by_path_are_relative_to_the_recipe_and_are_saved_so(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("sac.zip", "statistics.pkl"):
        (small.parent / name).touch()
    (small.parent / "second").mkdir()
    small.write_text(
        f"{SMALL}[distill.teachers]\n"
        'others = ["second", "sac.zip", "runs/third", '
        '{file = "sac.zip", statistics = "statistics.pkl", std_floor = 1}]\n'
    )
    monkeypatch.chdir(elsewhere)
    recipe = load_recipe(small)
    second, plain_file, third, table = recipe.distill.teachers.others
    assert second == str(small.parent / "second")
    assert plain_file == str(small.parent / "sac.zip")
    assert third == str(small.parent / "runs" / "third")  # still to come
    assert table == {
        "file": str(small.parent / "sac.zip"),
        "statistics": str(small.parent / "statistics.pkl"),
        "std_floor": 1,
    }
    assert recipe.distill.teachers.named[-1].options["std_floor"] == 1.0
    save_recipe(recipe, elsewhere / "recipe.toml")
    assert load_recipe(elsewhere) == recipe


PATHS = {
    "robot": "mine",
    "task": "stand.py",
    "distill.dataset": "data",
    "virtual.faults": "faults.toml",
}


def test_paths_of_the_command_line_are_relative_to_where_it_is_given_and_stay_so(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    for name in ("mine/robot.toml", "stand.py", "data/x", "faults.toml", "sac.zip", "s.pkl"):
        for folder in (here, tmp_path):  # beside the recipe too, where none is meant
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    monkeypatch.chdir(here)
    others = '["to-come", "sac.zip", {file="sac.zip", statistics="s.pkl"}]'
    given = [f"{key}={value}" for key, value in PATHS.items()]
    given += ["distill.mode=offline", f"distill.teachers.others={others}"]
    recipe = load_recipe(small, given)
    found = (recipe.robot, recipe.task, recipe.distill.dataset, recipe.virtual.faults)
    assert found == tuple(str(here / name) for name in PATHS.values())
    table = {"file": str(here / "sac.zip"), "statistics": str(here / "s.pkl")}
    expected = (str(here / "to-come"), str(here / "sac.zip"), table)
    assert recipe.distill.teachers.others == expected
    save_recipe(recipe, tmp_path / "run" / "recipe.toml")
    monkeypatch.chdir("/")
    assert load_recipe(tmp_path / "run") == recipe


def test_what_else_is_called_as_a_robot_or_a_task_is_not_meant(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    for folder in (runs, tmp_path):
        (folder / "balancer").mkdir(parents=True)  # a run folder
    monkeypatch.chdir(runs)
    for recipe in (load_recipe(small), load_recipe(small, ["robot=balancer", "task=balancer"])):
        assert (recipe.robot, recipe.task) == ("balancer", "balancer")


def test_an_option_that_a_teacher_has_not_lists_those_it_has(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = 'distill.teachers.others=[{file="a.onnx", noise=0.1}]'
    assert main(["train", str(small), "--set", wrong]) == 2
    said = capsys.readouterr().err
    assert "distill.teachers.others[0]: a teacher of kind 'onnx' takes no option 'noise'" in said
    assert "noise_std, discrete" in said
    assert len(said.strip().splitlines()) == 1


def test_a_robot_given_by_path_is_relative_to_the_recipe(small: Path) -> None:
    folder = small.parent / "my_robot"
    folder.mkdir()
    (folder / "robot.toml").touch()
    small.write_text('robot = "my_robot"\ntask = "balancer"\n')
    assert load_recipe(small).robot == str(folder.resolve())


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_a_saved_recipe_gives_the_same_again(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["virtual.push_times=[1, 2]"] if name in ROBOTS else [])
    save_recipe(recipe, tmp_path / "recipe.toml")
    assert load_recipe(tmp_path) == recipe
    assert plain(load_recipe(tmp_path)) == plain(recipe)


def test_faults_are_refused_where_the_recipe_runs_on_a_real_port(small: Path) -> None:
    assert load_recipe(small, ["virtual.faults=faults.toml"]).virtual.faults == "faults.toml"
    with pytest.raises(RecipeError, match=r"virtual\.faults is for virtual robots"):
        load_recipe(small, ["virtual.faults=faults.toml", "run.port=/dev/ttyUSB0"])


def test_launch_takes_faults_and_refuses_them_on_a_real_port(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "faults.toml"
    arguments = ["launch", str(small), f"--faults={profile}", "--set=run.port=/dev/ttyUSB0"]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "virtual.faults is for virtual robots" in said
    assert len(said.splitlines()) == 1


def test_launch_refuses_faults_where_there_is_no_robot(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "cartpole", "--faults=faults.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("retort: --faults is for virtual robots, and cartpole learns in")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("robot", "task"), [("balancer", "reach"), ("arm6", "balancer")])
def test_a_task_that_does_not_fit_its_robot_is_refused_in_a_sentence(
    robot: str, task: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [f"--set=robot={robot}", f"--set=task={task}", f"--out={tmp_path / 'run'}"]
    assert main(["train", robot, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"retort: task {task} is for the robot ")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_mistake_in_a_task_s_own_code_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from retort.sim.tasks.reach import Reach\n"
        "class Mine(Reach):\n    def reward(self, measured, command):\n        return {}['x']\n"
        "    def measure(self, physics, rows):\n        return {}['gone']\n"
        "TASK = Mine()\n"
    )
    with pytest.raises(TaskError, match=r"mine\.py line 6: KeyError: 'gone'"):
        load_recipe("arm6", [f"task={path}"]).check()


def test_what_else_cannot_be_says_so_in_its_own_words() -> None:
    with pytest.raises(ModelError, match="3 substeps of"):
        load_recipe("balancer", ["simulation.substeps=3"]).check()
    with pytest.raises(SwitchError, match="reach randomises no friction that could switch"):
        load_recipe(
            "arm6", ['switches=[{quantity="friction", time=[0.0, 1.0], value=[1.0, 1.0]}]']
        ).check()


def test_a_recipe_s_own_term_stands_beside_it_and_is_found_from_its_run_folder(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = small.parent / "sparse.py"
    own.write_text("def TERM(sample):\n    return sample.student.mode().abs().sum(-1)\n")
    (small.parent / "entropy").touch()  # called as a term, and not meant
    with small.open("a") as file:
        file.write('[distill]\nterms = [{ name = "sparse.py" }, { name = "entropy" }]\n')
    monkeypatch.chdir("/")
    recipe = load_recipe(small)
    assert [term.name for term in recipe.distill.terms] == [str(own), "entropy"]
    assert [term.label for term in recipe.distill.terms] == ["sparse", "entropy"]
    save_recipe(recipe, tmp_path / "run" / "recipe.toml")
    assert load_recipe(tmp_path / "run") == recipe
    own.unlink()
    with pytest.raises(RecipeError, match=r"distill\.terms\[0\]: .* there is no file .*sparse\.py"):
        load_recipe(tmp_path / "run")

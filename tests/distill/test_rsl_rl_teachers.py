"""Teachers by rsl_rl say what the library says of the same observations, of every version."""

import pytest
import torch
from retort.distill.teachers import ValuesOf
from retort.distill.teachers.foreign import ForeignTeacherError, load_teacher_file
from retort.hardware.checks import RangeError

from .foreign_models import ENVS, TICKS, ask, excite, rows, sequence


@pytest.mark.parametrize("std_type", ["scalar", "log"])
@pytest.mark.parametrize("by_state", [False, True])
def test_rsl_rl_checkpoints_give_what_the_library_gives(tmp_path, std_type, by_state):
    pytest.importorskip("rsl_rl")
    from rsl_rl.models import MLPModel
    from tensordict import TensorDict

    seen = sequence()
    observations = TensorDict({"policy": rows(seen)}, batch_size=[TICKS * ENVS])
    kind = "HeteroscedasticGaussianDistribution" if by_state else "GaussianDistribution"
    actor, critic = (
        MLPModel(
            observations,
            {"actor": ["policy"], "critic": ["policy"]},
            name,
            outputs,
            hidden_dims=[16, 8],
            activation="swish",
            obs_normalization=True,
            distribution_cfg=distribution,
        )
        for name, outputs, distribution in (
            ("actor", 2, {"class_name": kind, "init_std": 0.6, "std_type": std_type}),
            ("critic", 1, None),
        )
    )
    for model in (actor, critic):
        excite(model.mlp)
        model.update_normalization(TensorDict({"policy": 2 + 3 * sequence()[0]}, batch_size=[5]))
    saved = {
        "actor_state_dict": actor.state_dict(),
        "critic_state_dict": critic.state_dict(),
        "iter": 3,
        "infos": None,
    }
    torch.save(saved, tmp_path / "model_3.pt")
    options = {"state_dependent_std": std_type} if by_state else {}
    teacher = load_teacher_file(
        tmp_path / "model_3.pt", activation="swish", gamma=0.9, std_floor=1e-6, **options
    )
    said = ask(teacher, seen)
    actor.eval()
    torch.testing.assert_close(rows(said.distribution.mode()), actor(observations))
    actor(observations, stochastic_output=True)
    torch.testing.assert_close(rows(said.distribution.std), actor.output_std)
    critic.eval()
    torch.testing.assert_close(rows(said.value), 0.1 * critic(observations).squeeze(-1))
    assert teacher.values_of == ValuesOf(0.9)
    assert [layer.shape[-1] for layer in said.features.values()] == [16, 8]


def old_rsl_rl(path, normaliser_inside):
    """A checkpoint laid out as rsl_rl 2 (statistics beside the model) or 3 (in it) did."""
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    model = {
        "actor.0.weight": randn(8, 4),
        "actor.0.bias": randn(8),
        "actor.2.weight": randn(2, 8),
        "actor.2.bias": randn(2),
        "std": torch.tensor([0.3, 0.4]),
    }
    statistics = {"_mean": randn(1, 4), "_std": randn(1, 4).abs(), "_var": randn(1, 4).square()}
    saved = {"model_state_dict": model, "iter": 1, "infos": None}
    if normaliser_inside:
        model |= {f"actor_obs_normalizer.{k}": v for k, v in statistics.items()}
    else:
        saved["obs_norm_state_dict"] = statistics
    torch.save(saved, path)
    return model, statistics


@pytest.mark.parametrize("normaliser_inside", [False, True])
def test_rsl_rl_checkpoints_of_older_versions(tmp_path, normaliser_inside):
    path = tmp_path / "model_1.pt"
    model, statistics = old_rsl_rl(path, normaliser_inside)
    seen = sequence()
    said = ask(load_teacher_file(path, gamma=0.9), seen)
    x = (seen - statistics["_mean"][0]) / (statistics["_std"][0] + 1e-2)
    x = torch.nn.functional.elu(x @ model["actor.0.weight"].T + model["actor.0.bias"])
    expected = x @ model["actor.2.weight"].T + model["actor.2.bias"]
    torch.testing.assert_close(said.distribution.mode(), expected)
    torch.testing.assert_close(said.distribution.std[0, 0], model["std"])
    assert said.value is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"activation": "sine"}, ForeignTeacherError, "'sine'; use one of elu"),
        (
            {"state_dependent_std": "exp"},
            ForeignTeacherError,
            "'exp'; it must be one of 'scalar', 'log'",
        ),
        ({"gamma": 1.0}, RangeError, "gamma is 1.0"),
        ({"normaliser_epsilon": -1.0}, RangeError, "normaliser_epsilon is -1.0"),
        ({"std_floor": 0.0}, RangeError, "std_floor is 0.0"),
    ],
)
def test_what_a_checkpoint_cannot_have_been_trained_with_is_refused(
    tmp_path, options, error, message
):
    old_rsl_rl(tmp_path / "model_1.pt", normaliser_inside=True)
    with pytest.raises(error, match=message):
        load_teacher_file(tmp_path / "model_1.pt", **options)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model_state_dict": Harmful()}, tmp_path / "model.pt")
    with pytest.raises(ForeignTeacherError, match=r"does not hold tensors alone; give"):
        load_teacher_file(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"weights": 1}, "expected actor_state_dict or model_state_dict"),
        ({"model_state_dict": {"student.0.weight": torch.zeros(1)}}, "no layers of an actor"),
        (
            {"actor_state_dict": {"mlp.0.weight": torch.zeros(2, 4), "rnn.rnn.w": torch.zeros(1)}},
            "expected a perceptron",
        ),
        (
            {"actor_state_dict": {"mlp.0.weight": torch.zeros(2, 4), "mlp.0.bias": torch.zeros(2)}},
            "state_dependent_std",
        ),
    ],
)
def test_checkpoints_of_another_kind_say_what_they_lack(tmp_path, contents, message):
    torch.save(contents, tmp_path / "model.pt")
    with pytest.raises(ForeignTeacherError, match=message):
        load_teacher_file(tmp_path / "model.pt")

# SPDX-License-Identifier: Apache-2.0
"""The gymnasium wrapper around real environments."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="the extra drive")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from edgeguard.adapters.card import number  # noqa: E402
from edgeguard.adapters.gymnasium import GuardedEnv  # noqa: E402
from edgeguard.errors import ConfigError  # noqa: E402
from tests.adapters.pages import ROOT, follow  # noqa: E402

MOST = 2.0  # Nm
STEP = 1.0  # Nm a step: 20 Nm/s for 50 ms


class Seen(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Writes down what an environment was really given."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.given: list[Any] = []

    def step(self, action: Any) -> Any:
        assert self.env.action_space.contains(action), action
        self.given.append(action.copy())
        return self.env.step(action)


def page_policy() -> str:
    text = (ROOT / "docs" / "integrations" / "gymnasium.md").read_text()
    return text[text.index("# guard.toml") : text.index("```\n\n```python")]


def write(folder: Path, policy: str, unit: str = "Nm") -> Path:
    number("torque", -MOST, MOST, unit).save(folder / "torque.card.json")
    (folder / "guard.toml").write_text(policy)
    return folder / "guard.toml"


def signals(env: Any, seen: Any) -> dict[str, float]:
    return {"swing": float(seen[2]), "damp": -0.25 * float(seen[2])}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write(tmp_path, page_policy())


@pytest.fixture
def inner() -> Seen:
    return Seen(gymnasium.make("Pendulum-v1"))


def run(env: GuardedEnv, actions: list[Any]) -> list[dict[str, Any]]:
    return [env.step(action)[4] for action in actions]


def test_it_is_an_environment_as_gymnasium_wants_them(policy: Path) -> None:
    env = GuardedEnv(gymnasium.make("Pendulum-v1"), policy, signals)
    with warnings.catch_warnings():  # that it is wrapped, and that its action is not [-1, 1]
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=True)


def test_several_of_them_run_beside_each_other_in_processes(policy: Path) -> None:
    """What comes back with a step must get through a pipe."""

    def make() -> GuardedEnv:
        return GuardedEnv(gymnasium.make("Pendulum-v1"), policy, signals)

    several = gymnasium.vector.AsyncVectorEnv([make, make], context="fork")
    several.reset(seed=5)
    *_, infos = several.step(np.array([[0.5], [np.nan]]))
    several.close()
    assert list(infos["guard"]["mode"]) == ["FALLBACK", "FALLBACK"], "as after every arming"
    assert "SCORE_INSANE" in infos["guard"]["causes"][1]


def test_the_environment_gets_the_guards_action_and_nothing_else(policy: Path, inner: Seen) -> None:
    env = GuardedEnv(inner, policy, signals)
    env.reset(seed=3)
    rng = np.random.default_rng(3)
    infos = run(env, [rng.choice([-MOST, MOST], 1) for _ in range(100)])
    assert [i["action"].tolist() for i in infos] == [g.tolist() for g in inner.given]
    assert [i["guard"]["command"]["torque"] for i in infos] == [g[0] for g in inner.given]
    steps = np.abs(np.diff(np.ravel(inner.given)))
    assert steps.max() == pytest.approx(STEP, abs=1e-4), "hard over both ways, as fast as it may"
    assert infos[-1]["guard"]["mode"] == "NOMINAL"


def test_an_agent_that_holds_still_gets_its_way(policy: Path, inner: Seen) -> None:
    env = GuardedEnv(inner, policy, signals)
    env.reset(seed=3)
    run(env, [np.array([1.25])] * 20)
    assert inner.given[-1][0] == 1.25


@pytest.mark.parametrize(
    "bad", [[np.nan], [3.0], [1.0, 2.0], None, "left", [[0.1], [0.2]]], ids=str
)
def test_what_is_no_action_is_never_acted_on(policy: Path, inner: Seen, bad: Any) -> None:
    env = GuardedEnv(inner, policy, signals)
    env.reset(seed=3)
    before = run(env, [np.array([0.5])] * 20)
    assert before[-1]["guard"]["mode"] == "NOMINAL"
    damp = signals(env, env._seen)["damp"]
    (info,) = run(env, [bad])
    assert "SCORE_INSANE" in info["guard"]["causes"]
    assert info["guard"]["mode"] == "FALLBACK"
    towards = np.clip(damp, 0.5 - STEP, 0.5 + STEP)
    assert inner.given[-1][0] == pytest.approx(towards, abs=1e-4), "the rule, at its rate"


def test_every_episode_has_an_armed_guard_of_its_own(policy: Path, inner: Seen) -> None:
    blind = [False]
    env = GuardedEnv(inner, policy, lambda e, s: {} if blind[0] else signals(e, s))
    env.reset(seed=1)
    blind[0] = True
    stopped = run(env, [np.array([1.0])] * 20)
    assert stopped[-1]["guard"]["mode"] == "SAFE_STOP"
    blind[0] = False
    env.reset(seed=1)
    again = run(env, [np.array([1.0])] * 20)
    assert again[-1]["guard"]["mode"] == "NOMINAL"
    assert inner.given[-1][0] == 1.0
    env.close()


def test_a_signed_bundle_lasts_for_more_than_one_episode(
    policy: Path, inner: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="the extra lab")
    from edgeguard.lab.export import export, new_key, read_private

    folder = policy.parent / "machine"
    folder.mkdir()
    monkeypatch.setenv("EDGEGUARD_STATE", str(folder / "state"))
    monkeypatch.setattr("edgeguard.bundle.trust.SYSTEM", folder)
    new_key(folder / "sign.pem")
    bundle = folder / "pendulum.egb"
    export(policy, bundle, read_private(folder / "sign.pem"), name="pendulum", version=1)
    env = GuardedEnv(inner, bundle, signals)
    for _ in range(2):
        env.reset(seed=1)
        assert run(env, [np.array([1.0])] * 20)[-1]["guard"]["mode"] == "NOMINAL"
    files = env.config.source.parent
    env.close()
    assert not files.exists()


TWO_AGENTS = """[member.other]
runtime = "external"
card = "torque.card.json"
deadline_ms = 50
max_age_ms = 100
may_suggest = ["torque"]

[channel.torque]"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("range = [-2.0, 2.0]\nrise", "range = [-2.5, 2.0]\nrise", "the environment takes"),
        (
            "[channel.torque]",
            TWO_AGENTS,
            "channel.torque: agent, other may suggest it; want one of",
        ),
    ],
)
def test_a_policy_that_does_not_fit_the_action(
    tmp_path: Path, inner: Seen, old: str, new: str, complaint: str
) -> None:
    text = page_policy()
    assert old in text
    with pytest.raises(ConfigError, match=complaint):
        GuardedEnv(inner, write(tmp_path, text.replace(old, new)), signals)


def test_actions_that_are_no_box_and_boxes_of_another_size(policy: Path) -> None:
    with pytest.raises(ConfigError, match="is no Box"):
        GuardedEnv(gymnasium.make("CartPole-v1"), policy, signals)
    pytest.importorskip("Box2D", reason="the extra drive")
    with pytest.raises(ConfigError, match="1 of them for an action of 3 numbers"):
        GuardedEnv(gymnasium.make("CarRacing-v3"), policy, signals)


class Counted(gymnasium.Env[Any, Any]):
    """Whole Nm alone."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.int32)


def test_commands_have_fractions(policy: Path) -> None:
    with pytest.raises(ConfigError, match="is a Box of int32, and commands have fractions"):
        GuardedEnv(Counted(), policy, signals)


class Frozen(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A camera that stops at its twentieth picture."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.kept: list[Any] = []

    def observation(self, observation: Any) -> Any:
        self.kept = [*self.kept, observation][:20]
        return self.kept[-1] if len(self.kept) == 20 else observation


CAMERA = """
[camera.front]
rate_hz = 20
max_age_ms = 100
frame = {{ width = 96, height = 96, format = "RGB" }}
"""


def racing_policy() -> str:
    """Three channels as CarRacing has them, and its camera."""
    policy = page_policy() + CAMERA.format()
    for name in ("gas", "brake"):  # two more of the same
        for table in ("member.agent", "channel.torque"):
            part = page_policy().split(f"[{table}]")[1].split("\n[")[0]
            kind = table.partition(".")[0]
            policy += f"\n[{kind}.{name}]{part}".replace('["torque"]', f'["{name}"]')
    return policy.replace("range = [-2.0, 2.0]\nrise", "range = [0.0, 1.0]\nrise")


WORKER = f"""
[member.sees]
model = "{ROOT / "models" / "drive" / "hard.onnx"}"
camera = "front"
isolation = "process"
deadline_ms = 50
max_age_ms = 100
may_suggest = ["torque"]
"""


def test_a_model_in_a_worker_has_answered_before_the_decision(tmp_path: Path) -> None:
    """A step takes less than a network does: without waiting, what it says is of a frame before."""
    pytest.importorskip("Box2D", reason="the extra drive")
    pytest.importorskip("onnxruntime", reason="the extra onnx")
    policy = write(tmp_path, (racing_policy() + WORKER).replace('"Nm"', '"rad"'), "rad")
    env = GuardedEnv(
        gymnasium.make("CarRacing-v3"), policy, lambda e, s: {"swing": 0.0, "damp": 0.0},
        camera="front",
    )  # fmt: skip
    env.reset(seed=0)
    infos = run(env, [np.array([0.1, 0.1, 0.0])] * 20)
    env.close()
    assert {info["guard"]["ages_ms"]["sees"] for info in infos} == {0.0}


def test_a_step_before_the_first_reset_is_refused(policy: Path, inner: Seen) -> None:
    env = GuardedEnv(inner, policy, signals)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.array([0.0]))
    env.close()


def test_a_frozen_picture_is_found_though_the_agent_looks_at_it(tmp_path: Path) -> None:
    pytest.importorskip("Box2D", reason="the extra drive")
    policy = racing_policy().replace(
        "[cause.SCORE", "[cause.FROZEN_INPUT]\non_ms = 50\n\n[cause.SCORE"
    )
    env = GuardedEnv(
        Frozen(gymnasium.make("CarRacing-v3")), write(tmp_path, policy),
        lambda e, s: {"swing": 0.0, "damp": 0.0}, camera="front",
    )  # fmt: skip
    env.reset(seed=0)
    infos = run(env, [np.array([0.1, 0.1, 0.0])] * 30)
    env.close()
    first = [i for i, info in enumerate(infos) if "FROZEN_INPUT" in info["guard"]["causes"]]
    # the twentieth picture is what the guard sees before step 19; the next one is the same
    assert first[0] == 20
    assert infos[-1]["guard"]["mode"] == "FALLBACK"
    assert infos[-1]["action"][1] == 0.0, "no gas any more"


def test_the_page_word_for_word(tmp_path: Path) -> None:
    _, said = follow("gymnasium.md", tmp_path)
    lines = said.splitlines()
    assert len(lines) == 60
    assert lines[39].endswith("NOMINAL")
    assert lines[40].startswith("40 nan -> ") and lines[40].endswith("FALLBACK")
    assert lines[51].endswith("NOMINAL")

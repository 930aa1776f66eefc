"""The recipe: the paper's numbers by default, and one clear line for everything that cannot be meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medsam.errors import DataError, InputFileError
from medsam.training.config import TrainConfig, compare_configs, load_config, make_config, read_config

ROOT = Path(__file__).resolve().parents[2]


def test_defaults_are_the_papers_numbers() -> None:
    config = TrainConfig(data=("store",))
    assert (config.learning_rate, config.weight_decay, config.beta1, config.beta2) == (1e-4, 0.01, 0.9, 0.999)
    assert (config.global_batch, config.epochs, config.box_noise_px, config.base) == (160, 150, 20.0, "sam-vit-b")
    assert (config.encoder, config.prompts_per_image, config.schedule) == ("full", 1, "constant")
    assert config.augmentation == "none"


def test_the_papers_recipe_changes_nothing_but_the_data() -> None:
    recipe = read_config(ROOT / "recipes/paper.toml")
    assert set(compare_configs(TrainConfig(data=("store",)), recipe)) <= {"data", "name"}


def test_every_recipe_can_be_read(tmp_path: Path) -> None:
    recipes = [path for path in sorted((ROOT / "recipes").glob("*.toml")) if not path.name.startswith("study-")]
    assert len(recipes) >= 2
    for recipe in recipes:
        text = recipe.read_text()
        if recipe.name == "gpu.toml":  # the script puts these before it
            text = 'data = ["slices"]\nbase = "base.safetensors"\nsteps = 10\n' + text
        (tmp_path / recipe.name).write_text(text)
        read_config(tmp_path / recipe.name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('learning_rate = "fast"', "learning_rate is 'fast'"),
        ("learning_rate = 0", "more than 0"),
        ("learning_rate = true", "a number"),
        ("epochs = 1.5", "a whole number"),
        ("global_batch = 0", "1 or more"),
        ("box_noise = 'wild'", "enlarge, both, shift, all"),
        ("box_noise_share = -0.1", "0 or more"),
        ("data = [1, 2]", "a list of paths"),
        ("epoch = 3", "perhaps epochs"),
        ("average = 1.0", "less than 1"),
        ("cache_embeddings = true", 'encoder = "frozen"'),
        (
            'cache_embeddings = true\nencoder = "tail"\naugmentation = "light"',
            "a number of views whose embeddings are kept",
        ),
        ("augmentation = 'wild'", "none, light, strong"),
        ("prompts = ['box', 'line']", 'some of "box", "point", "mask"'),
        ("student = 'tiny_vit_s'\nframe_size = 512", "features must lie over"),
        ("student = 'tiny_vit_s'\ncorrections = 1", "no mask is made"),
        ("frame_size = 500", "0, 256, 512 or 1024"),
        ("prompts = ['mask']", 'not "mask" alone'),
        ("prompts = ['box', 'box']", "each once"),
        ("prompts = []", 'some of "box"'),
        ("prompts = [1]", "a list of texts"),
        ("clicks = 2", '"point" among the prompts'),
        ("corrections = -1", "0 or more"),
        ("prompt_encoder = 'lora'", "frozen, full"),
        ("checkpoint_activations = 'yes'", "true or false"),
        ("compile = true\nencoder = 'frozen'", "an encoder that learns"),
        ("compile = true\ncheckpoint_activations = true", "computed twice"),
        ("steps = -3", "0 or more"),
        ("box_noise_px = inf", "a finite number"),
        ("quality_weight = nan", "a finite number"),
        ("tune_split = 'train'", "another split than train_split"),
        ("student_start = 'base'", "without a student"),
        ("= 3", "is no TOML"),
        ("seed = " + "[" * 5000, "is no TOML (it is nested too deeply)"),
        ("steps = 1" + "0" * 5000, "is no TOML"),
        ("weight_decay = 1" + "0" * 400, "weight_decay is 1000"),
        ("weight_decay = 0x" + "f" * 5000, "a number of thousands of digits"),
        ("global_batch = 99_999_999_999", "1,000,000 at most"),
        ("seed = 99999999999999999999", "at most"),
        ("encoder = []", "frozen"),
        ("encoder = {a = [1]}", "frozen"),
        ("epochs = 1979-05-27", "a whole number"),
        ("prompts = [['box']]", "a list of texts in quotes"),
        ("name = 3", "a text in quotes"),
        ("data2 = 'x'\nname = 'y'", "'data2'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text if text.startswith("data") else f'data = ["store"]\n{text}\n')
    with pytest.raises(DataError) as refusal:
        read_config(recipe)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        recipe.write_bytes('data = "a"\nname = "Leber é"\n'.encode(encoding))
        assert read_config(recipe) == TrainConfig(data=("a",), name="Leber é")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_bytes(b'data = "a"\nname = "\xe9"\n')
    with pytest.raises(InputFileError, match="is not text; expected a recipe in TOML"):
        read_config(recipe)
    with pytest.raises(InputFileError, match="recipe in TOML"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(InputFileError, match="recipe in TOML"):
        read_config(tmp_path)


def test_a_damaged_record_of_a_run_is_refused(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "[]", '{"epochs": 1e400}', '{"data": {"a": []}}', "\x00"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(DataError):
            load_config(tmp_path / "config.json")


def test_no_data_is_refused() -> None:
    with pytest.raises(DataError, match="a store or a folder"):
        TrainConfig()


def test_a_run_keeps_its_configuration(tmp_path: Path) -> None:
    config = TrainConfig(data=("a", "b"), learning_rate=3e-4, encoder="lora", name="mine")
    (tmp_path / "config.json").write_text(config.to_json())
    assert load_config(tmp_path / "config.json") == config
    (tmp_path / "config.json").write_text('{"rate": 1}')
    with pytest.raises(DataError, match="rate"):
        load_config(tmp_path / "config.json")
    with pytest.raises(DataError, match="no readable"):
        load_config(tmp_path / "none" / "config.json")


def test_a_whole_number_is_a_number_and_one_path_is_a_list() -> None:
    config = make_config({"data": "store", "weight_decay": 0}, source="here")
    assert config == replace(TrainConfig(data=("store",)), weight_decay=0.0)

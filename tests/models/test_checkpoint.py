"""Every layout weights are passed around in, both ways; hostile, damaged and foreign files refused in words."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import operator
import os
import pickle
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam.errors import CheckpointError, MedsamError, OutputError
from medsam.models.catalog import CATALOG
from medsam.models.checkpoint import inspect_checkpoint, load_checkpoint, save_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM, build
from medsam.models.weights_file import sidecar

MEDSAM = CATALOG["medsam-vit-b"].manifest
SAM = CATALOG["sam-vit-b"].manifest
LITE = CATALOG["lite-medsam"].manifest


def random_model(architecture: str) -> MedSAM:
    model = build(architecture, initialise=False)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(-0.05, 0.05, generator=generator)
            else:
                tensor.zero_()
    return model


@pytest.fixture(scope="module")
def vit() -> MedSAM:
    return random_model("vit_b")


@pytest.fixture(scope="module")
def lite() -> MedSAM:
    return random_model("tiny_vit")


@pytest.fixture(scope="module")
def flat(vit: MedSAM) -> dict[str, torch.Tensor]:
    return vit.state_dict()


# Enough of a ViT-B for what is told from names and shapes alone.
SCRAP = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768), "mask_decoder.iou_token.weight": torch.zeros(1, 256)}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[object], Path]:
    def save(what: object) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(what, path)
        return path

    return save


@pytest.fixture(autouse=True)
def no_large_leftovers(tmp_path: Path) -> Iterator[None]:
    yield
    shutil.rmtree(tmp_path)


def same(model: MedSAM, other: MedSAM) -> bool:
    ours, theirs = model.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


# Layouts


def test_flat_file_of_the_release_needs_its_pre_processing_said(saved, flat, vit):
    path = saved(flat)
    found = inspect_checkpoint(path)
    assert (found.layout, found.architecture, found.tensors, found.manifest) == ("flat", "vit_b", 314, None)
    with pytest.raises(CheckpointError, match="--like medsam-vit-b"):
        load_checkpoint(path)
    model, manifest = load_checkpoint(path, replace(MEDSAM, name="mine", sha256=None))
    assert same(model, vit)
    assert not model.training
    assert manifest.name == "mine"
    assert manifest.sha256 == found.sha256


@pytest.mark.parametrize(
    ("wrap", "layout"),
    [
        (lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3}, "training"),
        (lambda s: {"module." + k: v for k, v in s.items()}, "training"),
        (
            lambda s: {"model": {"module." + k: v for k, v in s.items()}, "epoch": 1, "loss": np.float64(0.5)},
            "training",
        ),
        (lambda s: {"model": s}, "wrapped"),
        (lambda s: {"state_dict": s}, "wrapped"),
        (
            lambda s: {"state_dict": {"model." + k: v for k, v in s.items()}, "pytorch-lightning_version": "2"},
            "wrapped",
        ),
        (lambda s: {"state_dict": {"net." + k: v for k, v in s.items()}, "opt": argparse.Namespace(lr=1)}, "wrapped"),
    ],
    ids=["training", "ddp", "training-ddp", "model", "state_dict", "lightning-model", "lightning-net"],
)
def test_wrapped_files_load_the_same_weights(saved, lite, wrap, layout):
    path = saved(wrap(lite.state_dict()))
    assert inspect_checkpoint(path).layout == layout
    model, manifest = load_checkpoint(path)
    assert same(model, lite)
    assert (manifest.frame_size, manifest.fit, manifest.upsample) == (256, "pad", "logits")
    assert manifest.name == "weights"


def test_training_file_of_a_vit_is_medsam(saved):
    manifest = inspect_checkpoint(saved({"model": SCRAP, "optimizer": {}, "epoch": 150})).manifest
    assert manifest is not None
    assert (manifest.fit, manifest.scaling, manifest.prompts) == ("squash", "min-max", ("box",))


def test_lightning_file_of_a_vit_is_not_guessed(saved):
    assert inspect_checkpoint(saved({"state_dict": {"model." + k: v for k, v in SCRAP.items()}})).manifest is None


def test_old_torch_format_loads(tmp_path, lite):
    path = tmp_path / "old.pth"
    torch.save(lite.state_dict(), path, _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(path)[0], lite)


def test_half_precision_weights_load_as_fp32(saved, lite):
    halves = {k: v.half() if v.is_floating_point() else v for k, v in lite.state_dict().items()}
    model, _ = load_checkpoint(saved(halves))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    expected = lite.mask_decoder.iou_token.weight.half().float()
    assert torch.equal(model.mask_decoder.iou_token.weight, expected)


def test_safetensors_carries_its_manifest_and_comes_back(tmp_path, vit):
    path = tmp_path / "mine.safetensors"
    written = save_checkpoint(vit, replace(MEDSAM, name="mine", licence="CC-BY-4.0"), path)
    model, manifest = load_checkpoint(path)
    assert same(model, vit)
    assert manifest == written
    assert manifest.name == "mine"
    assert manifest.sha256 == inspect_checkpoint(path).sha256
    assert inspect_checkpoint(path).layout == "safetensors"


def test_half_files_are_half_the_size_and_come_back_as_fp32(tmp_path, lite):
    save_checkpoint(lite, LITE, tmp_path / "whole.safetensors")
    save_checkpoint(lite, LITE, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert 0.49 < sizes[0] / sizes[1] < 0.51
    back = load_checkpoint(tmp_path / "half.safetensors")[0].state_dict()
    for name, tensor in lite.state_dict().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor.half().float() if tensor.is_floating_point() else tensor)


def test_weights_beyond_half_precision_are_refused(tmp_path):
    model = random_model("tiny_vit")
    with torch.no_grad():
        model.mask_decoder.iou_token.weight[0, 0] = 70_000
    with pytest.raises(OutputError, match=r"beyond float16 in mask_decoder\.iou_token\.weight"):
        save_checkpoint(model, LITE, tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_flat_file_keeps_its_manifest_beside_it(tmp_path, lite):
    path = tmp_path / "mine.pth"
    written = save_checkpoint(lite, replace(LITE, name="mine"), path, "flat")
    assert Manifest.from_json((tmp_path / "mine.pth.manifest.json").read_text()) == written
    assert load_checkpoint(path)[1] == written
    plain = torch.load(path, weights_only=True)
    assert list(plain) == list(lite.state_dict())


def test_foreign_safetensors_without_manifest_is_asked_about(tmp_path):
    from safetensors.torch import save_file

    save_file(SCRAP, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="different pre-processing"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_published_lite_medsam_is_known_under_any_name(shared_data, tmp_path):
    from medsam.models.catalog import fetch

    copy = tmp_path / "renamed.bin"
    os.link(fetch("lite-medsam"), copy) if same_disk(tmp_path) else copy.write_bytes(fetch("lite-medsam").read_bytes())
    model, manifest = load_checkpoint(copy)
    assert manifest == LITE
    assert sum(p.numel() for p in model.parameters()) == 9_791_300


def same_disk(folder: Path) -> bool:
    return folder.stat().st_dev == Path.home().stat().st_dev


# Hugging Face


@pytest.fixture(scope="module")
def hub_folder(vit: MedSAM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hub") / "medsam"
    save_checkpoint(vit, replace(SAM, name="mine", sha256=None), folder, "hf")
    yield folder
    shutil.rmtree(folder)


def test_sam_model_loads_our_folder_and_gives_the_same_logits(hub_folder, vit):
    transformers = pytest.importorskip("transformers")
    theirs, told = transformers.SamModel.from_pretrained(hub_folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 256, 64, 64, generator=generator)
    boxes = torch.tensor([[10.0, 20.0, 500.0, 700.0], [300.0, 300.0, 900.0, 1000.0]])
    with torch.inference_mode():
        logits, quality = vit.decode(features, boxes, multimask=True)
        output = theirs.eval()(image_embeddings=features, input_boxes=boxes[None])
    assert torch.allclose(output.pred_masks[0], logits, rtol=1e-4, atol=1e-4)
    assert torch.allclose(output.iou_scores[0], quality, atol=1e-4)


def test_sam_model_gets_each_encoder_tensor_in_its_place(hub_folder, vit):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.SamModel.from_pretrained(hub_folder).vision_encoder
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 14, 14, 768, generator=generator)
    with torch.inference_mode():
        for ours, block in zip(vit.image_encoder.blocks[:2], theirs.layers[:2], strict=True):
            assert torch.equal(ours.norm1.weight, block.layer_norm1.weight)
            assert torch.equal(ours.norm2.bias, block.layer_norm2.bias)
            assert torch.equal(ours.attn.rel_pos_h, block.attn.rel_pos_h)
            assert torch.equal(ours.attn.rel_pos_w, block.attn.rel_pos_w)
            assert torch.allclose(ours.mlp(tokens), block.mlp(tokens), atol=1e-4)
        assert torch.equal(vit.image_encoder.neck[3].weight, theirs.neck.layer_norm2.weight)
        assert torch.equal(vit.image_encoder.pos_embed, theirs.pos_embed)


@pytest.mark.parametrize("architecture", ["vit_b", "vit_l", "vit_h"])
def test_every_vit_has_the_names_and_shapes_of_sam_model(architecture):
    transformers = pytest.importorskip("transformers")
    from medsam.models.layouts_hub import hub_config, to_hub

    parts = {name: part for name, part in hub_config(architecture).items() if name.endswith("_config")}
    with torch.device("meta"):
        ours = build(architecture, initialise=False).state_dict()
        theirs = transformers.SamModel(transformers.SamConfig(**parts)).state_dict()
    theirs.pop("prompt_encoder.shared_embedding.positional_embedding")  # tied to shared_image_embedding
    assert {to_hub(name): t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_sam_model_folder_comes_back(hub_folder, vit):
    found = inspect_checkpoint(hub_folder)
    assert (found.layout, found.architecture) == ("hub", "vit_b")
    model, manifest = load_checkpoint(hub_folder)
    assert same(model, vit)
    assert manifest.name == "mine"
    assert manifest.prompts == ("box", "point", "mask")


def test_folder_saved_by_transformers_loads_with_its_own_processor(hub_folder, vit, tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.SamModel.from_pretrained(hub_folder).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="--like"):
        load_checkpoint(tmp_path)
    config = json.loads((hub_folder / "preprocessor_config.json").read_text())
    config |= {"do_normalize": False, "image_mean": [0.0] * 3, "image_std": [1.0] * 3, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    model, manifest = load_checkpoint(tmp_path)
    assert same(model, vit)
    assert (manifest.fit, manifest.scaling, manifest.interpolation, manifest.upsample) == (
        "pad",
        "unit",
        "bicubic",
        "frame",
    )


def test_pytorch_model_bin_with_both_position_tables_loads(hub_folder, vit, tmp_path):
    from safetensors.torch import load_file

    tensors = load_file(hub_folder / "model.safetensors")
    twice = "prompt_encoder.shared_embedding.positional_embedding"
    tensors[twice] = tensors["shared_image_embedding.positional_embedding"].clone()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    manifest = replace(SAM, sha256=None)
    assert same(load_checkpoint(tmp_path, manifest)[0], vit)
    few = {name: tensors[name] for name in (twice, "shared_image_embedding.positional_embedding")}
    few |= {twice: few[twice] + 1, "vision_encoder.pos_embed": SCRAP["image_encoder.pos_embed"]}
    torch.save(few, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="two different position tables"):
        load_checkpoint(tmp_path, manifest)


def test_sam_processor_file_is_left_out_where_it_would_lie(vit, tmp_path):
    save_checkpoint(vit, MEDSAM, tmp_path / "medsam", "hf")
    assert not (tmp_path / "medsam" / "preprocessor_config.json").exists()
    assert "squash" in (tmp_path / "medsam" / "README.md").read_text()
    assert "license: cc-by-4.0\n" in (tmp_path / "medsam" / "README.md").read_text()
    own = replace(MEDSAM, licence="research only: see the card")
    save_checkpoint(vit, own, tmp_path / "own", "hf", card='# Mine\n\n`{"sha256": "of another file"}`\n')
    head, body = (tmp_path / "own" / "README.md").read_text().split("---\n")[1:]
    assert 'license: other\nlicense_name: "research only: see the card"\n' in head
    assert body.startswith("\n# Mine\n\n## Input")
    assert "another file" not in body


def test_processor_we_write_reads_back_as_the_same_pre_processing(hub_folder):
    from medsam.models.layouts_hub import manifest_of_processor

    config = json.loads((hub_folder / "preprocessor_config.json").read_text())
    back = manifest_of_processor(config, "vit_b", "mine")
    assert back is not None
    assert (back.fit, back.interpolation, back.scaling) == (SAM.fit, SAM.interpolation, SAM.scaling)
    assert manifest_of_processor(config | {"resample": 1}, "vit_b", "mine") is None
    assert manifest_of_processor({}, "vit_b", "mine") is None


def test_sharded_folder_is_said(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="several shards"):
        inspect_checkpoint(tmp_path)


# Strictness


def test_missing_and_surplus_names_are_counted_and_listed(saved, lite):
    state = lite.state_dict()
    gone = [name for name in state if name.startswith("mask_decoder.")][:12]
    for name in gone:
        del state[name]
    state["mask_decoder.extra.weight"] = torch.zeros(2)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved(state))
    text = str(caught.value)
    assert "12 missing" in text
    assert gone[0] in text
    assert gone[9] in text
    assert gone[10] not in text
    assert "1 surplus: mask_decoder.extra.weight" in text


def test_wrong_shapes_are_listed(saved, lite):
    state = lite.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.zeros(2, 256)
    with pytest.raises(CheckpointError, match=r"mask_decoder.iou_token.weight \(2, 256\) for \(1, 256\)"):
        load_checkpoint(saved(state))


def test_integer_weights_are_refused(saved, lite):
    state = lite.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256, dtype=torch.int8)
    with pytest.raises(CheckpointError, match=r"iou_token.weight \(torch.int8\)"):
        load_checkpoint(saved(state))


def test_weights_that_are_not_finite_are_refused(saved, lite):
    state = {name: tensor.clone() for name, tensor in lite.state_dict().items()}
    state["mask_decoder.mask_tokens.weight"][0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint(saved(state))


def test_two_models_in_one_file_are_refused(saved, lite):
    state = lite.state_dict()
    both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"holds 2 models \(student\., teacher\.\)"):
        load_checkpoint(saved(both))


def test_another_file_than_the_manifest_says_is_refused(saved, lite):
    with pytest.raises(CheckpointError, match="as the manifest of lite-medsam says"):
        load_checkpoint(saved(lite.state_dict()), LITE)


def test_manifest_of_another_architecture_is_refused(saved, lite):
    with pytest.raises(CheckpointError, match="holds a tiny_vit; expected a vit_b"):
        load_checkpoint(saved(lite.state_dict()), replace(MEDSAM, sha256=None))


def test_file_altered_after_its_manifest_was_written_is_refused(tmp_path, lite):
    path = tmp_path / "mine.pth"
    save_checkpoint(lite, LITE, path, "flat")
    torch.save(lite.state_dict() | {"mask_decoder.iou_token.weight": torch.zeros(1, 256)}, path)
    with pytest.raises(CheckpointError, match="has sha256"):
        load_checkpoint(path)


def test_unknown_encoder_is_refused(saved):
    with pytest.raises(CheckpointError, match="not known"):
        inspect_checkpoint(saved({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 192)}))
    with pytest.raises(CheckpointError, match="no image encoder"):
        inspect_checkpoint(saved({"layer1.weight": torch.zeros(3)}))


# Hostile and damaged files


class Hostile:
    """Pickles to a call of whatever it is given."""

    def __init__(self, function: Callable[..., object], *arguments: object, state: object = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def gadgets(marker: Path) -> list[Hostile]:
    touch = f"open({str(marker)!r}, 'w').close()"
    return [
        Hostile(os.system, f"touch {marker}"),
        Hostile(os.popen, f"touch {marker}"),
        Hostile(os.mkdir, str(marker)),
        Hostile(os.execv, sys.executable, [sys.executable, "-c", touch]),
        Hostile(subprocess.check_call, ["touch", str(marker)]),
        Hostile(subprocess.Popen, ["touch", str(marker)]),
        Hostile(eval, touch),
        Hostile(exec, touch),
        Hostile(compile, touch, "x", "exec"),
        Hostile(__import__, "this"),
        Hostile(open, str(marker), "w"),
        Hostile(shutil.copy, "/etc/hostname", str(marker)),
        Hostile(Path(marker).touch),
        Hostile(runpy.run_path, str(marker)),
        Hostile(operator.attrgetter("__globals__"), 1),
        Hostile(functools.partial(os.system, f"touch {marker}")),
        Hostile(importlib.import_module, "antigravity"),
        Hostile(torch.hub.load, "x/y", "z"),
        Hostile(torch.save, {}, str(marker)),
        Hostile(np.save, str(marker), 0),
        Hostile(argparse.Namespace, state={"__class__": Hostile(os.system, f"touch {marker}")}),
    ]


@pytest.mark.parametrize("number", range(21))
def test_no_gadget_in_a_checkpoint_runs(tmp_path, number):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    torch.save({"model": SCRAP, "bait": gadgets(marker)[number]}, path)
    marker.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match=r"wants to run code \("):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("way", ["zip", "old", "plain pickle", "protocol 4"])
def test_code_in_a_pickle_is_refused_in_words_and_never_runs(tmp_path, way):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    bait = {"model": {"image_encoder.pos_embed": torch.zeros(1)}, "x": Hostile(os.system, f"touch {marker}")}
    if way in ("zip", "old"):
        torch.save(bait, path, _use_new_zipfile_serialization=way == "zip")
    else:
        path.write_bytes(
            pickle.dumps({"x": Hostile(os.system, f"touch {marker}")}, protocol=2 if way == "plain pickle" else 4)
        )
    for read in (inspect_checkpoint, load_checkpoint):
        with pytest.raises(CheckpointError, match=r"wants to run code \(((posix|nt|os)\.system|operand 149)\)"):
            read(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>virus scan warning</body></html>", "web page"),
        (b"just some text, no weights", "is no weights file"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged"),
        ((10**12).to_bytes(8, "little") + b'{"a":1}' + b"\0" * 100, "claims a header of 1000000000000 bytes"),
        ((2**62).to_bytes(8, "little") + b"{" + b"\0" * 100, "claims a header"),
        ((20).to_bytes(8, "little") + b"{not json at all....", "not the JSON"),
        ((2).to_bytes(8, "little") + b"{}" + b"surplus bytes", "says it holds 0 bytes"),
    ],
    ids=["empty", "lfs", "html", "text", "zip", "oversized", "huge", "no-json", "surplus"],
)
def test_files_that_are_no_weights_are_refused_in_words(tmp_path, content, said):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(path)


def test_header_with_offsets_outside_the_file_is_refused(tmp_path):
    header = json.dumps(
        {"image_encoder.pos_embed": {"dtype": "F32", "shape": [1, 64, 64, 768], "data_offsets": [0, 12582912]}}
    ).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(CheckpointError, match="says it holds 12582912 bytes of tensors and holds 16"):
        load_checkpoint(path)


def test_truncated_files_are_refused(tmp_path, lite):
    for name, layout in (("w.safetensors", "safetensors"), ("w.pth", "flat")):
        save_checkpoint(lite, LITE, tmp_path / name, layout)
        sidecar(tmp_path / name).unlink(missing_ok=True)
        whole = (tmp_path / name).read_bytes()
        for part in (100, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:part])
            with pytest.raises(CheckpointError):
                load_checkpoint(tmp_path / name)


def test_random_damage_never_gives_another_error(tmp_path):
    tensors = {f"image_encoder.{i}": torch.zeros(2, 3) for i in range(4)}
    path = tmp_path / "w.pth"
    torch.save({"model": tensors, "epoch": 1}, path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), 6):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_missing_file_and_folder_without_weights(tmp_path):
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_checkpoint(tmp_path)


# Writing


def test_write_that_fails_leaves_the_old_file_and_no_scraps(tmp_path, lite, monkeypatch):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"old")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(lite, LITE, path, "flat")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "layout", "said"),
    [("w.pth", "safetensors", "suffix"), ("w.safetensors", "flat", "suffix"), ("folder", "hf", "ViT")],
)
def test_layouts_that_do_not_fit_are_refused(tmp_path, lite, name, layout, said):
    with pytest.raises(OutputError, match=said):
        save_checkpoint(lite, LITE, tmp_path / name, layout)
    assert not list(tmp_path.iterdir())


def test_folder_with_something_in_it_is_not_overwritten(tmp_path, vit):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="files in it"):
        save_checkpoint(vit, MEDSAM, tmp_path, "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_broken_manifest_beside_a_file_is_said(tmp_path, lite):
    path = tmp_path / "w.pth"
    torch.save(lite.state_dict(), path)
    for text in (b"{", b"\xff\xfe", b'{"name": "x"}', b'{"surplus": 1}'):
        sidecar(path).write_bytes(text)
        with pytest.raises(MedsamError, match="manifest"):
            load_checkpoint(path)

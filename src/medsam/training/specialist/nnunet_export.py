"""The samples of a specialist as a raw data set of nnU-Net, each target a case with its box."""

from __future__ import annotations

from medsam.baselines.nnunet import RawDataset, write_case, write_dataset_json
from medsam.evaluation.targets import generator_for, simulate_boxes
from medsam.imaging.frame import is_grey
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.samples import open_samples


def export_cases(config: SpecialistConfig, raw: RawDataset) -> int:
    """Write all targets of the samples, and give their number.

    Every box is drawn once, by the seed, the picture and the target alone. Where every picture is grey, pictures have
    one channel.

    Args:
        config: Names data, samples, seed and noise.
        raw: Where they are written.

    Raises:
        DataError: nothing to write. OutputError: the disk refused.
    """
    source = open_samples(config)
    grey = all(is_grey(source.read(number).pixels_HW3) for number in range(len(source)))
    cases = 0
    for number in range(len(source)):
        unit, slice_ = source.unit(number), source.read(number)
        rng = generator_for(unit.dataset, unit.name, config.seed, 6)
        boxes = simulate_boxes(slice_.masks, config.noise, rng)
        for mask, box in zip(slice_.masks, boxes, strict=True):
            write_case(raw, f"case{cases:06d}", slice_.pixels_HW3, mask_HW=mask, box=box, grey=grey)
            cases += 1
    write_dataset_json(raw, cases, grey=grey)
    return cases

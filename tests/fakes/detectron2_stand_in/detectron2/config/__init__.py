"""Configurations: attributes in attributes, known keys only."""

from types import SimpleNamespace

import yaml


class CfgNode(SimpleNamespace):
    def merge_from_file(self, cfg_filename, allow_unsafe=True):
        with open(cfg_filename) as file:  # noqa: PTH123
            self._merge(yaml.unsafe_load(file) if allow_unsafe else yaml.safe_load(file), "")

    def _merge(self, values, path):
        for key, value in values.items():
            if not hasattr(self, key):
                raise KeyError(f"Non-existent config key: {path}{key}")
            if isinstance(value, dict):
                getattr(self, key)._merge(value, f"{path}{key}.")
            else:
                setattr(self, key, value)


def get_cfg():
    return CfgNode(
        MODEL=CfgNode(DEVICE="cuda", META_ARCHITECTURE="GeneralizedRCNN", MASK_ON=False, ROI_HEADS=CfgNode()),
        INPUT=CfgNode(FORMAT="BGR", MIN_SIZE_TEST=800, MAX_SIZE_TEST=1333),
    )

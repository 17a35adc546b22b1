from pathlib import Path

from backend.serving.stores import LOOK_EVERY_S, StoreSize, StoreSizes


def write(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * count)


def test_each_store_is_counted_with_its_folders_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    write(bank / "a.json", 3)
    write(bank / "a.safetensors", 4)
    write(tmp_path / "predictions/a.json", 6)
    write(bank / "support/key/batch-0000/0000.png", 10)
    write(bank / "support/key/masks-1/0000.png", 5)
    (bank / "lessons").mkdir()
    (bank / "support/gone").symlink_to(tmp_path / "nowhere")
    found = StoreSizes(bank, tmp_path / "predictions").sizes()
    link_bytes = (bank / "support/gone").lstat().st_size
    assert found == (
        StoreSize("prototype sets", 2, 7),
        StoreSize("support images", 3, 15 + link_bytes),
        StoreSize("predictions", 1, 6),
    )
    assert StoreSizes(tmp_path / "missing", tmp_path / "gone").sizes() == ()


def test_a_look_is_kept_for_a_while(tmp_path: Path) -> None:
    now_s = 100.0
    sizes = StoreSizes(tmp_path, tmp_path / "predictions", clock_s=lambda: now_s)
    assert sizes.sizes() == ()
    write(tmp_path / "a.json", 3)
    assert sizes.sizes()[0].bytes == 3
    write(tmp_path / "a.json", 30)
    now_s += LOOK_EVERY_S - 1
    assert sizes.sizes()[0].bytes == 3
    now_s += 2
    assert sizes.sizes()[0].bytes == 30

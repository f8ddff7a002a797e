"""Facts about a computer: storage locations."""

from pathlib import Path

from img2vid.doctor import facts
from img2vid.doctor.facts import Place


def test_processor_and_memory_are_those_of_this_computer() -> None:
    memory = facts.memory()
    assert 0 < memory.used < memory.total
    assert "core" in facts.processor()
    found = facts.versions()
    assert {"img2vid", "torch", "streamlit", "distributed", "av", "numpy"} <= found.keys()


def test_what_lies_where_is_counted_and_what_is_not_there_is_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name, size in {"img2vid.sqlite": 10, "svd/a.mp4": 100, "svd/a.png": 20, "inputs/x.png": 3}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(bytes(size))
    (home / "svd" / "loop").symlink_to(home, target_is_directory=True)
    elsewhere = tmp_path / "films"
    found = facts.places(home, "cluster.log", [elsewhere, home / "svd"])
    assert [place for place in found if place.size is not None] == []
    sizes = {place.path: (place.what, place.files) for place in facts.counted(found)}
    assert sizes[home / "svd"] == ("videos", 2)
    assert sizes[elsewhere] == ("videos", 0)
    assert sizes[home / "inputs"] == ("inputs", 1)
    assert sizes[home / "latents"] == ("latents", 0)
    counted = {place.path: place.size for place in facts.counted([Place("home", home), Place("x", home / "svd")])}
    assert counted == {home: 133, home / "svd": 120}


def test_the_disk_of_a_folder_that_is_not_there_yet_is_known(tmp_path: Path) -> None:
    disk = facts.disk(tmp_path / "not" / "there")
    assert disk.total is not None and disk.free is not None and 0 <= disk.free <= disk.total

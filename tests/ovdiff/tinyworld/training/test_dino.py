import torch

from ovdiff.tinyworld.training import dino


def test_matched_places_of_a_view_with_itself_are_its_own_patch_centres() -> None:
    frame = dino.sample_views(2)
    places, seen = dino.matched_places(frame, frame, 8)
    assert seen.all()
    assert torch.allclose(places[0, 0], torch.tensor([-0.875, -0.875]), atol=1e-5)


def test_sinkhorn_gives_every_row_one_and_every_prototype_its_share() -> None:
    share = dino.sinkhorn(torch.rand(60, 6))
    assert torch.allclose(share.sum(dim=1), torch.ones(60))
    assert share.sum(dim=0).std() < 3

"""The Models page in a browser: from the Sample page and back, on windows of two sizes."""

from playwright.sync_api import expect
from visitor import OVERHANG, SMALL, Visit


def test_models_are_verified_and_settings_are_kept(visit: Visit) -> None:
    visitor = visit().ready_with({**SMALL, "seed": 41})
    visitor.page.wait_for_load_state("networkidle")
    visitor.page.get_by_role("link", name="Models").click()
    row = visitor.page.locator(".st-key-model_svd_tiny")
    expect(row).to_contain_text("Installed, 15 MB")
    row.get_by_role("button", name="Verify").click()
    expect(row).to_contain_text("is readable (14,745,362 bytes)")
    gated = visitor.page.locator(".st-key-model_svd_xt_1_1")
    expect(gated).to_contain_text("stabilityai/stable-video-diffusion-img2vid-xt-1-1")
    visitor.picture("models")

    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.picture("models_narrow")
    assert visitor.page.evaluate(OVERHANG) == 0

    visitor.page.set_viewport_size({"width": 1280, "height": 800})
    visitor.page.get_by_role("link", name="Sample").click()
    for label, value in {**SMALL, "seed": 41}.items():
        expect(visitor.number(label)).to_have_value(str(value))
    visitor.press("Sample")
    visitor.wait_for_result(41)
    visitor.played()

"""The API answers any request as its OpenAPI document says."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_videos import write_result
from schemathesis.checks import CHECKS

from img2vid import paths
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.remedies import has_text
from img2vid.settings import SampleSettings
from img2vid.web.api import create_app

PHOTO = (paths.PROJECT / "assets" / "dandelion.jpg").read_bytes()
ROUTES = (
    ("/jobs", "GET"),
    ("/jobs", "POST"),
    ("/prompts", "POST"),
    ("/jobs/{job_id}", "GET"),
    ("/jobs/{job_id}/events", "GET"),
    ("/jobs/{job_id}/cancel", "POST"),
    ("/jobs/{job_id}/videos/{number}", "GET"),
    ("/jobs/{job_id}/pictures/{number}", "GET"),
)
ALWAYS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Any, list[Job]]]:
    """Return the document, and jobs of which one has ended with a video."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMG2VID_HOME", str(home))
        if has_text():
            patch.setenv("IMG2VID_CHECKPOINTS", str(request.getfixturevalue("sdxl")))
        store = Store()
        made = [store.add(SampleSettings(), LoadOptions(), PHOTO, "a", ".jpg", home / "videos") for _ in range(2)]
        store.start(made[0].id)
        store.record_result(made[0].id, write_result(made[0], 23))
        store.finish(made[0].id, State.DONE)
        store.cancel(made[1].id)
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(JobService(store))), made


def test_all_routes_are_tested(jobs: tuple[Any, list[Job]]) -> None:
    document = jobs[0].raw_schema["paths"]
    assert {(path, method.upper()) for path, methods in document.items() for method in methods} == {*ROUTES}


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_answers_are_as_documented(jobs: tuple[Any, list[Job]], path: str, method: str, mode: str) -> None:
    schema, made = jobs
    operation = schema[path][method]
    kind = schemathesis.GenerationMode(mode)
    checks = [*ALWAYS, "negative_data_rejection"] if mode == "negative" else ALWAYS
    known = st.sampled_from([None, *(job.id for job in made)])
    no_checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]

    statuses: set[int] = set()

    @settings(max_examples=25, deadline=None, suppress_health_check=no_checks)
    @given(case=operation.as_strategy(generation_mode=kind), job_id=known, picture=st.booleans())
    def check(case: Any, job_id: str | None, picture: bool) -> None:
        if mode == "positive":
            if job_id is not None and "job_id" in case.path_parameters:
                case.path_parameters["job_id"] = job_id
            if picture and path == "/jobs":
                case.body = PHOTO
            if picture and path == "/prompts":  # otherwise hardly any is valid and of an installed model
                case.query = {"prompt": "a dog", "image_model": "tiny_sdxl", "animate": "true"}
        response = case.call_and_validate(checks=CHECKS.get_by_names(list(checks)))
        statuses.add(response.status_code)

    check()
    if (mode, method) == ("positive", "POST") and (path != "/prompts" or has_text()):
        assert statuses & {200, 201}

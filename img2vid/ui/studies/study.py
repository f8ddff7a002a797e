"""Study that a page shows, in its current state."""

from dataclasses import dataclass

from img2vid.errors import BadInput
from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.studies import Kind, Studies
from img2vid.gallery.sweep_axes import cell_names
from img2vid.ui import resources
from img2vid.ui.state import MessageArea, PageState
from img2vid.ui.studies.differences import facts, labels


@dataclass(frozen=True)
class StudyPage:
    """Page of a kind of study: its area, which is also the name of its stored state, and its labels."""

    area: MessageArea
    icon: str
    cancel: str
    earlier: str


PAGES: dict[Kind, StudyPage] = {
    "compare": StudyPage("compare", ":material/compare:", "Cancel", "Earlier comparisons"),
    "sweep": StudyPage("sweeps", ":material/grid_on:", "Cancel all", "Earlier sweeps"),
}


def studies() -> Studies:
    """Return the studies of the job service's store."""
    return Studies(resources.open_service().store)


def sheet_of(page: PageState, study_id: str) -> ContactSheet | None:
    """Return a study's current state, with a name for each cell; None if the id is empty or no longer in the store."""
    try:
        return current_sheet(page, study_id) if study_id else None
    except BadInput:
        return None


def current_sheet(page: PageState, study_id: str) -> ContactSheet:
    """Return a study's current state, with a name for each cell. Raise BadInput if it is not in the store."""
    study = studies().study(study_id)
    runs = [facts(cell.settings, cell.options) for cell in study.cells]
    names = cell_names(study.axes) if study.axes else labels(runs, page.versions)
    return ContactSheet(study, studies().cells(study), names)

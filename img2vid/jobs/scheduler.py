"""Who does what: waiting jobs go to free workers in the order of the queue, and what comes back is written down.

Each worker has one order at a time, and each order is for one worker. So the queue can be changed until the last
moment, a worker that has the model is preferred, and when one is lost it is known what it was doing.

Where the store cannot be written, a StoreError ends the tick and the next one tries again: nothing is forgotten here
before it is written there.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

import img2vid
from img2vid.errors import BadInput, MediaError
from img2vid.jobs import worker
from img2vid.jobs.cluster import Cluster, WorkerLost
from img2vid.jobs.estimate import Expected, expected
from img2vid.jobs.job import Job, ModelStatus, State
from img2vid.jobs.latent_cache import Shelf, latents_key
from img2vid.jobs.save_results import keep
from img2vid.jobs.store import Store
from img2vid.jobs.worker import Hello, Order, Outcome
from img2vid.jobs.workers import Hand, Work, best_hand, choice_for, order_for

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5
"""Seconds between two looks at which workers are there."""
LOSSES = 2
"""A job whose worker was lost this often has failed."""

Make = Callable[[Order], Outcome]
Greet = Callable[[], Hello]


class Dispatcher:
    """Brings the jobs of a store and the workers of a cluster together, a `tick` at a time, all in one thread."""

    def __init__(self, store: Store, make: Make = worker.make_video, greet: Greet = worker.hello) -> None:
        self._store, self._make, self._greet = store, make, greet
        self._cluster: Cluster | None = None
        self._hands: dict[str, Hand] = {}
        self._unfit: dict[str, str] = {}
        """Workers that cannot be used, and why."""
        self._works: list[Work] = []
        """Jobs that go on before those of the queue."""
        self._shelf = Shelf(store.home)
        self._events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._looked = float("-inf")
        self._lost_over: dict[int, int] = {}
        """By the number of a wish, how many workers were lost while they followed it."""

    def attach(self, cluster: Cluster) -> None:
        """Works with the workers of this cluster from now on."""
        self._cluster = cluster
        self._looked = float("-inf")
        cluster.listen(self._events.put)

    def detach(self) -> None:
        """All workers are gone; what they were doing is begun again when others come."""
        for hand in list(self._hands.values()):
            self._lose(hand)
        self._unfit.clear()
        self._cluster = None

    def end(self, put_back: bool) -> None:
        """Stops what runs; it is interrupted, or waits again if it is put back."""
        works = [*self._works, *(hand.work for hand in self._hands.values() if hand.work is not None)]
        for hand in self._hands.values():
            hand.promise.withdraw()
        self._hands.clear()
        self._works.clear()
        self._store.forget_models()
        for work in works:
            if work.withdrawn:
                self._store.finish(work.job.id, State.CANCELLED)
            elif put_back:
                self._store.put_back(work.job.id)
            else:
                reason = "the program was closed while the job was running; run it again"
                self._store.finish(work.job.id, State.INTERRUPTED, reason)

    def tick(self) -> None:
        """Looks once at everything and does what can be done now; ClusterError where the scheduler is gone."""
        self._read_events()
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            self._look_for_workers()
        for hand in list(self._hands.values()):
            if hand.busy and hand.promise.done():
                hand.settle(hand)
        self._withdraw()
        self._hand_out()

    def problem(self) -> str | None:
        """What keeps jobs from running, in a sentence, or None."""
        if any(hand.hello for hand in self._hands.values()):
            return None
        if self._hands:
            return "the workers are being started"
        return next(iter(self._unfit.values()), "there is no worker; jobs wait until one is there")

    def workers(self) -> list[tuple[str, str, str]]:
        """Name, host and device of each worker."""
        known = [hand.hello for hand in self._hands.values() if hand.hello is not None]
        return [(hello.name, hello.host, hello.device) for hello in known]

    # Workers come and go

    def _look_for_workers(self) -> None:
        there = self._here.workers()
        for address in self._hands.keys() - there:
            self._lose(self._hands[address])
        self._unfit = {address: why for address, why in self._unfit.items() if address in there}
        for address in sorted(there - self._hands.keys() - self._unfit.keys()):
            self._hands[address] = Hand(address, self._here.ask(address, self._greet), self._welcome)

    def _welcome(self, hand: Hand) -> None:
        hand.busy = False
        try:
            hand.hello = hello = hand.promise.result()
        except Exception as error:
            logger.exception("a worker cannot be used")  # whatever a foreign machine lacks
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._unfit[hand.address] = f"the worker {hand.address} cannot be used: {reason}"
        else:
            if hello.version == img2vid.__version__:
                return
            self._unfit[hand.address] = (
                f"the worker {hello.name} on {hello.host} has img2vid {hello.version}, this is {img2vid.__version__}; "
                "install the same on both"
            )
        del self._hands[hand.address]

    def _lose(self, hand: Hand) -> None:
        """A worker is gone, and with it what it was doing."""
        self._store.forget_models([hand.address])
        if hand.work is not None:
            self._lose_work(hand.work, f" ({hand.trouble})" if hand.trouble else "")
        elif hand.busy and hand.settle == self._rested:
            self._lost_over[hand.wish] = self._lost_over.get(hand.wish, 0) + 1
        hand.promise.withdraw()
        del self._hands[hand.address]

    def _lose_work(self, work: Work, why: str) -> None:
        """A job begins again, once."""
        losses = work.losses + 1
        if work.withdrawn:
            self._store.finish(work.job.id, State.CANCELLED)
        elif losses < LOSSES:
            self._store.record_notice(work.job.id, f"the worker was lost {work.place}{why}; the job was begun again")
            self._works.insert(0, work)
        else:
            advice = "" if why else "; if memory ran out, make the video smaller or set decode_t to a smaller number"
            reason = f"the worker was lost {losses} times, the last time {work.place}{why}{advice}"
            self._store.finish(work.job.id, State.FAILED, reason, WorkerLost.__name__)
        work.losses, work.given = losses, False

    # What is handed out

    def _hand_out(self) -> None:
        free = [hand for hand in self._hands.values() if hand.is_free]
        if not free:
            return
        for work in [*self._works, *map(self._work_of, self._store.queue(limit=50))]:
            hand = best_hand(free, work.job)
            if hand is not None and self._give(hand, work):
                free.remove(hand)
            if not free:
                return
        for hand in free:
            self._follow_wish(hand)

    def _work_of(self, job: Job) -> Work:
        return Work(job, self._usual(job), index=job.made)

    def _usual(self, job: Job) -> Expected | None:
        """How long one of its videos will take, judged by the past ones."""
        timing = self._store.timing(job.settings, job.choice)
        return None if timing is None else expected(timing, job.settings)

    def _give(self, hand: Hand, work: Work) -> bool:
        """Gives a worker the next video of a job; False where the job is not to be run any more."""
        order = None
        if work.given or self._store.start(work.job.id, hand.name):
            work.given = True
            work.started = work.started or time.time()
            order = self._order(hand, work)
        if work in self._works:
            self._works.remove(work)
        if order is None:
            return False
        hand.work, hand.asked = work, choice_for(hand, work.job)
        self._ask(hand, self._collect, self._make, order)
        return True

    def _order(self, hand: Hand, work: Work) -> Order | None:
        """The next video of a job; None where there is none, and the job is ended."""
        if work.index >= work.videos:  # it was put back when all was done but this
            self._store.finish(work.job.id, State.DONE)
            return None
        try:
            return order_for(hand, work, self._here.topic, self._shelf)
        except BadInput as error:
            self._store.finish(work.job.id, State.FAILED, str(error), type(error).__name__)
            return None

    def _follow_wish(self, hand: Hand) -> None:
        """A worker that has nothing else to do loads the model that the user wants, or lets go of the one it has."""
        wish = self._store.wish()
        if wish is None or wish.number <= hand.wish:
            return
        hand.wish, hand.asked = wish.number, wish.choice
        if self._lost_over.get(wish.number, 0) >= LOSSES:
            error = (
                f"the worker was lost {LOSSES} times while it loaded the model; it may need more memory than there is"
            )
            self._note_model(hand, ModelStatus("failed", wish.version, error=error))
            return
        arguments = (hand.address, self._here.topic)
        if wish.version:
            self._ask(hand, self._rested, worker.load_model, *arguments, wish.version, wish.choice)
        elif hand.status.state != "none":
            self._ask(hand, self._rested, worker.release_model, *arguments)

    def _withdraw(self) -> None:
        """Stops the jobs that somebody cancelled; the worker is free when it has left the step that it is in."""
        working = [hand for hand in self._hands.values() if hand.work is not None]
        cancelled = self._store.to_cancel() if working or self._works else set[str]()
        for work in [work for work in self._works if work.job.id in cancelled]:
            self._store.finish(work.job.id, State.CANCELLED)
            self._works.remove(work)
        for hand in working:
            if hand.work is not None and hand.work.job.id in cancelled and not hand.work.withdrawn:
                hand.work.withdrawn = True
                hand.promise.withdraw()
                self._ask(hand, self._stopped, worker.rest)

    def _ask(self, hand: Hand, settle: Callable[[Hand], None], function: Callable[..., Any], *arguments: Any) -> None:
        hand.busy, hand.settle = True, settle
        hand.promise = self._here.ask(hand.address, function, *arguments)

    @property
    def _here(self) -> Cluster:
        if self._cluster is None:
            raise AssertionError("a dispatcher is attached before it is used")
        return self._cluster

    # What comes back

    def _collect(self, hand: Hand) -> None:
        """A video is done, or failed."""
        work = hand.work
        if work is None:
            raise AssertionError("a video is made for a job")
        try:
            outcome: Outcome = hand.promise.result()
        except WorkerLost:
            self._lose(hand)
            return
        except Exception as error:
            logger.exception("an order failed outside of the program")
            sentence = " ".join(f"failed with {type(error).__name__}: {error}".split())
            outcome = Outcome(error=sentence, error_type=type(error).__name__)
        self._write_down(work, outcome)
        hand.promise.withdraw()  # so that neither the worker nor the scheduler keeps the video in memory
        hand.work, hand.busy = None, False

    def _write_down(self, work: Work, outcome: Outcome) -> None:
        job = work.job
        if outcome.notice:
            self._store.record_notice(job.id, outcome.notice)
        if outcome.error:
            self._store.finish(job.id, State.FAILED, outcome.error, outcome.error_type, outcome.details)
        elif not outcome.files:
            self._store.finish(job.id, State.CANCELLED)
        else:
            try:
                keep(self._store, job, outcome)
            except MediaError as error:
                self._store.finish(job.id, State.FAILED, str(error), type(error).__name__)
                return
            self._shelf.drop(latents_key(job, work.index))
            work.index += 1
            work.usual = self._usual(job)
            if work.index < work.videos:
                self._works.insert(0, work)
            else:
                self._store.finish(job.id, State.DONE)

    def _rested(self, hand: Hand) -> None:
        """Loading or letting go is over; what came of it was told by events."""
        hand.busy = False

    def _stopped(self, hand: Hand) -> None:
        """The worker has left the run that was cancelled."""
        if hand.work is not None:
            self._store.finish(hand.work.job.id, State.CANCELLED)
        hand.work, hand.busy = None, False

    # Events

    def _read_events(self) -> None:
        newest: dict[str, dict[str, Any]] = {}
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                break
            hand = self._hands.get(event["worker"])
            if hand is None:
                continue
            if event["kind"] == "trouble":
                hand.trouble = event["sentence"]
            elif event["kind"] == "model":
                self._note_model(hand, ModelStatus(**event["status"]))
            elif event["kind"] == "latents":
                self._keep_latents(hand.work, event)
            else:
                event["preview"] = event["preview"] or newest.get(hand.address, {}).get("preview", b"")
                newest[hand.address] = event
                if event["notice"] and hand.work is not None:
                    self._store.record_notice(hand.work.job.id, event["notice"])
        for address, event in newest.items():
            self._note_progress(self._hands[address], event)

    def _keep_latents(self, work: Work | None, event: dict[str, Any]) -> None:
        """Puts what a worker has sampled on the shelf, unless its video is there by now."""
        if work is None or work.job.id != event["task"]:
            return
        if work.job.settings_of(work.index).seed == event["seed"]:
            self._shelf.put(latents_key(work.job, work.index), event["packet"])

    def _note_model(self, hand: Hand, status: ModelStatus) -> None:
        hand.status = status
        self._store.record_model(hand.address, status)

    def _note_progress(self, hand: Hand, event: dict[str, Any]) -> None:
        if event["stage"] == "load" and hand.status.state == "loading":
            facts = {"done": event["step"], "total": event["total"], "memory": event["memory"]}
            self._note_model(hand, replace(hand.status, **facts))
        work = hand.work
        if work is not None and work.job.id == event["task"] and not work.withdrawn:
            self._store.record_progress(work.job.id, work.progress(event))

"""The thin shell round `plan_inference_service`: read, plan, apply, report."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from trainyard.api.inference_service import InferenceService
from trainyard.api.reasons import Reason
from trainyard.api.training_job import TrainingJob
from trainyard.cluster.resources import INFERENCE_SERVICES
from trainyard.inference import names
from trainyard.inference.autoscale.autoscaler import Autoscaler
from trainyard.inference.autoscale.starts import Told
from trainyard.inference.board import GatewayBoard
from trainyard.inference.making_way import gist
from trainyard.inference.membership import Membership, membership
from trainyard.inference.observed import Observed
from trainyard.inference.plan import plan_inference_service
from trainyard.inference.workload import wanted, workload_key, workloads
from trainyard.runtime.clock import Clock
from trainyard.runtime.work_queue import NEVER, Again
from trainyard.scheduling.snapshot import Decision, Evict
from trainyard.workloads.applier import Applier, RefusedError
from trainyard.workloads.decisions import Decisions
from trainyard.workloads.keys import Key
from trainyard.workloads.looks import Found, Looks
from trainyard.workloads.nominations import still_asked
from trainyard.workloads.outlook import Outlooks
from trainyard.workloads.plan import Note, sooner
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.pod_template import Surroundings
from trainyard.workloads.ports import Ports
from trainyard.workloads.refusals import Refusals
from trainyard.workloads.times import forgiven
from trainyard.workloads.world import World

log = logging.getLogger(__name__)


class InferenceController:
    """Reconciles one InferenceService at a time."""

    def __init__(
        self,
        world: World,
        applier: Applier,
        clock: Clock,
        decisions: Decisions,
        gateways: GatewayBoard,
        surroundings: Callable[[], Surroundings],
        poke: Callable[[], None],
        epoch: Callable[[], int],
        outlooks: Outlooks,
        started: Told = lambda _stage, _seconds: None,
    ) -> None:
        self._world, self._applier, self._clock, self._outlooks = world, applier, clock, outlooks
        self._decisions, self._gateways, self._surroundings = decisions, gateways, surroundings
        self._poke, self._epoch = poke, epoch
        self._refusals = Refusals(clock)
        self._autoscaler = Autoscaler(clock.monotonic, started)
        self._uids: dict[Key, str] = {}
        self.looks = Looks(self._look)

    async def reconcile(self, key: Key) -> Again:
        service = self._world.get(key)
        if not isinstance(service, InferenceService):
            self._applier.forget(key)
            self._autoscaler.forget(key)
            self._gateways.forget(self._uids.pop(key, ""))
            self._poke()
            return NEVER
        self._uids[key] = service.metadata.uid
        self.looks.noticed(key)
        observed = self.observe(service)
        self._gateways.keep_only(service.metadata.uid, {pod.name for pod in observed.gateway_pods})
        observed = replace(observed, scaling=self._autoscaler.look(observed, self._clock.now()))
        plan = plan_inference_service(observed, self._clock.now())
        retry = self._refusals.left(_mark(service)) + 0.1 if observed.refusal else None
        try:
            held_back = await self._applier.apply(key, INFERENCE_SERVICES, plan)
        except RefusedError as error:
            held_back, retry = None, self._refuse(key, service, str(error))
        after = self._world.get(key)
        if isinstance(after, InferenceService):
            for each in after.status.admission:
                self._decisions.drop(workload_key(after, each.serial))
            if gist(after) != gist(service):
                for serial in gist(after):
                    self._decisions.drop(workload_key(after, serial))
                self._poke()
            if after.status.admission != service.status.admission or len(wanted(self.observe(after))) != len(
                wanted(observed)
            ):
                self._poke()
        loss = self._world.nodes.next_loss(_nodes(service, observed.pods), self._clock.now())
        again = forgiven(service.status.avoid, self._clock.now())
        return Again(sooner(plan.again, held_back, retry, loss, again))

    def _look(self, key: Key) -> Found:
        service = self._world.get(key)
        if not isinstance(service, InferenceService):
            return ()
        return [(each, each.key.slot) for each in workloads(self.observe(service), self._clock.now())]

    def membership(self, service: InferenceService) -> Membership:
        """The list that gateways should follow now."""
        return membership(service, self._world.pods.of(service.metadata.uid))

    def observe(self, service: InferenceService) -> Observed:
        meta, source = service.metadata, service.spec.model
        pods = self._world.pods.of(meta.uid)
        job = self._world.get(Key("TrainingJob", meta.namespace, source.training_job)) if source.training_job else None
        nodes = _nodes(service, pods)
        observed = Observed(
            service=service,
            pods=pods,
            gateway_pods=self._world.pods.gateways(meta.namespace, meta.name),
            reports=self._gateways.of(meta.uid),
            counted=self._gateways.traffic.of(meta.uid),
            contracts=dict(self._gateways.contracts(meta.uid)),
            source=job if isinstance(job, TrainingJob) else None,
            claim_exists=source.claim_name is None or (meta.namespace, source.claim_name) in self._world.claims,
            neighbours=self._world.relations.neighbours(service),
            deployment=self._world.deployments.get((meta.namespace, names.gateway_name(service))),
            budget=self._world.budgets.get((meta.namespace, names.gateway_name(service))) == meta.uid,
            services=self._services(service),
            lost_nodes=self._world.nodes.lost(nodes, self._clock.now()),
            leaving=frozenset(self._world.nodes.leaving(nodes)),
            departing=self._world.nodes.departing(nodes),
            refusal=self._refusals.known(_mark(service)) or "",
            epoch=self._epoch(),
            flavors=self._world.flavors(),
            surroundings=self._surroundings(),
        )
        missing = wanted(observed)
        standing = {serial: found for serial in missing if (found := self._decision(service, serial))}
        outlook = self._outlooks.of(workload_key(service, missing[0])) if missing else None
        return replace(observed, decisions=standing, outlook=outlook, asked=self._asked(service))

    def _services(self, service: InferenceService) -> dict[str, Ports]:
        places = [(service.metadata.namespace, name) for name in (service.metadata.name, names.headless_name(service))]
        mine = [place for place in places if self._world.services.get(place) == service.metadata.uid]
        return {place[1]: self._world.ports[place] for place in mine}

    def _asked(self, service: InferenceService) -> dict[int, Evict]:
        standing = {each.serial: self._decision(service, each.serial) for each in service.status.admission}
        return {
            serial: each
            for serial, each in standing.items()
            if isinstance(each, Evict) and still_asked(self._world, each)
        }

    def _decision(self, service: InferenceService, serial: int) -> Decision | None:
        return self._decisions.of(workload_key(service, serial), service.metadata.uid, serial)

    def _refuse(self, key: Key, service: InferenceService, message: str) -> float:
        """Remember it. The next look, which is due at once, gives the places back."""
        mark = _mark(service)
        if not self._refusals.known(mark):
            self._applier.note(
                key, Note(Reason.ATTEMPT_UNDONE, f"the API server refused a child: {message}", warning=True)
            )
            self._applier.refused(key, message)
        first = not self._refusals.known(mark)
        self._refusals.refuse(mark, message)
        return 0.0 if first else self._refusals.left(mark) + 0.1


def _mark(service: InferenceService) -> str:
    return f"{service.metadata.uid}/{service.metadata.generation}"


def _nodes(service: InferenceService, pods: Iterable[PodState]) -> set[str]:
    """Nodes that matter to the service: where replicas were placed and where their pods are."""
    return {each.node for each in service.status.admission} | {pod.node for pod in pods}

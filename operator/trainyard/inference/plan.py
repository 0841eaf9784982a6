"""What is to be done for an InferenceService: a pure function of what was observed and the time.

First the list of replicas is brought forward in the status; only what the status of the last round already showed is acted on.
"""

from datetime import datetime, timedelta
from typing import Any

from trainyard.api.admission import AvoidedNode
from trainyard.api.inference_service import InferenceServiceStatus, ReplicaAdmission, ReplicaNomination, ServedModel
from trainyard.api.reasons import ConditionType, Reason, Waiting
from trainyard.inference import names
from trainyard.inference.autoscale.told import look_seconds, scaling_notes
from trainyard.inference.gateway import gateway_children
from trainyard.inference.making_way import leaves, nominations
from trainyard.inference.membership import drained, in_use, membership
from trainyard.inference.model import named, resolve
from trainyard.inference.observed import Observed
from trainyard.inference.recovery import read_back
from trainyard.inference.replica import replica_pod
from trainyard.inference.revision import is_of, shape_of
from trainyard.inference.rollout.look import kept_apart, look_again, model_for, rollout_step
from trainyard.inference.rollout.routing import is_canary
from trainyard.inference.rollout.stages import canaries
from trainyard.inference.workload import being_restored, missing, role, wanted
from trainyard.scheduling.snapshot import Admit, Wait
from trainyard.workloads import conditions
from trainyard.workloads.deployments import ready_replicas
from trainyard.workloads.plan import Delete, Note, Object, Plan, changed, sooner, still_good
from trainyard.workloads.pod_state import PodState
from trainyard.workloads.times import AVOID_SECONDS, BIND_SECONDS, REFRESH_SECONDS

DRAIN_POLL_SECONDS = 0.5
_REFUSED_EXIT = 65
_FOR_ROOM = frozenset({Waiting.WAITING_FOR_QUOTA, Waiting.TOPOLOGY_PLACEMENT_FAILED})
_CALM = frozenset({"conditions", "gateways", "gpus", "avoid", "eta", "remedies", "scaling"})


def plan_inference_service(observed: Observed, now: datetime) -> Plan:
    """Replicas, gateway, status."""
    if observed.service.metadata.deletion_timestamp or (being_restored(observed.service) and not observed.pods):
        return Plan()
    return read_back(observed, now) or _Round(observed, now).plan()


class _Round:
    """One look at the service: the replicas as they should stand, what follows, and the status that says so."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.observed, self.service, self.now = observed, observed.service, now
        self.pods = {pod.index: pod for pod in observed.pods}
        self.model = resolve(observed)
        self.rollout = rollout_step(observed, self._ready, self._refused, now)
        self.notes: list[Note] = [*scaling_notes(observed), *self.rollout.notes]
        self.avoid = [each for each in self.service.status.avoid if each.until > now]

    def plan(self) -> Plan:
        replicas = self._brought_forward()
        status = self._status(replicas)
        before, after = _dump(self.service.status), _dump(status)
        patch = changed(before, after)
        if patch.keys() <= {"eta"} and still_good(self.service.status.eta, status.eta):
            patch = {}
        urgent = not patch.keys() <= _CALM or _statements(self.service.status) != _statements(status)
        durable = {each.serial: each for each in self.service.status.admission}
        acting = [each for each in replicas if durable.get(each.serial) == each]
        return Plan(
            status=patch or None,
            urgent=urgent,
            create=self._create(acting),
            delete=self._delete(acting),
            notes=tuple(self.notes),
            again=self._again(replicas),
        )

    # Which replicas there should be.

    def _brought_forward(self) -> list[ReplicaAdmission]:
        kept = [self._look(each) for each in self.service.status.admission if not self._over(each)]
        return self._scaled(kept) + self._admitted()

    def _over(self, replica: ReplicaAdmission) -> bool:
        """Its place is free when its pod's object is gone."""
        return bool(replica.release) and replica.serial not in self.pods

    def _look(self, replica: ReplicaAdmission) -> ReplicaAdmission:
        """Give a replica up whose place was wrong or is lost."""
        pod = self.pods.get(replica.serial)
        why = ""
        if replica.release == "now":
            return replica
        if replica.node in self.observed.lost_nodes:
            why = f"node {replica.node} is gone or not ready"
        elif pod is not None and pod.phase == "Failed":
            why = f"{pod.reason or 'it failed'}: {pod.message}"
        elif pod is not None and not pod.bound and (self.now - pod.seen).total_seconds() >= BIND_SECONDS:
            why = f"not bound to {replica.node} within {BIND_SECONDS:.0f} s: {pod.unschedulable or 'kube-scheduler gave no reason'}{self.observed.surroundings.unseen}"
        elif pod is None and self.observed.refusal:
            # The node is as good as any: what was refused is the pod.
            return replica.model_copy(update={"release": "now"})
        if not why and replica.serial in self.observed.asked and not replica.release:
            left, note = leaves(replica, self.observed.asked[replica.serial], self.now)
            self.notes.append(note)
            return left
        if not why:
            return replica
        lost = replica.node in self.observed.lost_nodes
        blameless = replica.node in self.observed.departing if lost else pod is not None and pod.blameless
        self.notes.append(
            Note(Reason.ATTEMPT_UNDONE, f"replica {replica.serial} gives its place back: {why}", warning=True)
        )
        self.avoid = [
            *[each for each in self.avoid if each.name != replica.node],
            AvoidedNode(name=replica.node, until=self.now + timedelta(seconds=AVOID_SECONDS), blameless=blameless),
        ][-64:]
        return replica.model_copy(update={"release": "now"})

    def _scaled(self, replicas: list[ReplicaAdmission]) -> list[ReplicaAdmission]:
        """Drain what is too many: those of an old model or spec, or on a node that goes, as new ones are ready, then the unready, then the idlest."""
        staying = [each for each in replicas if not each.release]
        fresh = [each for each in staying if self._as_wanted(each)]
        apart = kept_apart(self.observed, self.now)
        stale = [each for each in staying if each not in fresh and each.digest not in apart]
        target = self.service.target()
        ready = sum(self._ready(each) for each in fresh)
        surplus = sorted(fresh, key=self._worth)[: max(0, len(fresh) - target)]
        surplus += sorted(stale, key=self._worth)[: max(0, len(stale) - max(0, target - ready))]
        surplus += self._canaries_too_many(staying)
        if not surplus and self._starved(fresh, stale, replicas):
            surplus = sorted(stale, key=self._worth)[:1]
        leaving = {each.serial for each in surplus}
        for each in surplus:
            self.notes.append(Note(Reason.DRAINING, f"replica {each.serial} finishes its requests and stops"))
        return [
            each.model_copy(update={"release": "drain", "drain_started_at": self.now})
            if each.serial in leaving
            else each
            for each in replicas
        ]

    def _as_wanted(self, replica: ReplicaAdmission) -> bool:
        model = not isinstance(self.model, ServedModel) or replica.digest == self.model.digest
        return model and is_of(replica, self.service) and replica.node not in self.observed.leaving

    def _canaries_too_many(self, staying: list[ReplicaAdmission]) -> list[ReplicaAdmission]:
        """Those of a rollout beyond what its step needs."""
        rollout = self.service.status.rollout
        kept = canaries(rollout, self.service.spec.rollout, self.service.target())
        if rollout is None or not kept:
            return []
        mine = [each for each in staying if each.digest == rollout.canary.digest]
        return sorted(mine, key=self._worth)[: max(0, len(mine) - kept)]

    def _starved(
        self, fresh: list[ReplicaAdmission], stale: list[ReplicaAdmission], replicas: list[ReplicaAdmission]
    ) -> bool:
        """New ones find no room beside the old ones: one old one makes way, if others answer meanwhile.

        Not the next before the new one in its place is ready: the new ones may never be.
        """
        decisions = self.observed.decisions.values()
        waits = any(isinstance(each, Wait) and each.verdict.reason in _FOR_ROOM for each in decisions)
        going = any(each.release for each in replicas)
        complete = len(fresh) + len(stale) >= self.service.target() > 1
        return waits and complete and not going and all(self._ready(each) for each in fresh)

    def _worth(self, replica: ReplicaAdmission) -> tuple[bool, int, int]:
        return (
            self._ready(replica),
            in_use(names.pod_name(self.service, replica.serial), self.observed.reports),
            -replica.serial,
        )

    def _ready(self, replica: ReplicaAdmission) -> bool:
        pod = self.pods.get(replica.serial)
        return pod is not None and pod.running and pod.ready

    def _admitted(self) -> list[ReplicaAdmission]:
        """Take the places that the scheduler decided on."""
        if not isinstance(self.model, ServedModel):
            return []
        taken = []
        for serial, digest in zip(wanted(self.observed), missing(self.observed), strict=True):
            decision = self.observed.decisions.get(serial)
            if isinstance(decision, Admit):
                node = decision.assignment.nodes[role(serial)][0]
                taken.append(
                    ReplicaAdmission(
                        serial=serial,
                        node=node,
                        flavor=decision.assignment.flavor,
                        digest=digest,
                        shape=shape_of(self.service),
                        epoch=self.observed.epoch,
                        admitted_at=self.now,
                    )
                )
                self.notes.append(
                    Note(Reason.ADMITTED, f"replica {serial} gets node {node} of flavor {decision.assignment.flavor}")
                )
        return taken

    def _nominations(self) -> list[ReplicaNomination]:
        found, notes = nominations(self.observed, self.now)
        self.notes += notes
        return found

    # What follows from it.

    def _create(self, replicas: list[ReplicaAdmission]) -> tuple[Object, ...]:
        model = self.model if isinstance(self.model, ServedModel) else self.service.status.model
        absent = [each for each in replicas if not each.release and each.serial not in self.pods]
        pods = [
            replica_pod(self.observed, each, model_for(self.observed, each.digest, model)) for each in absent if model
        ]
        return (*gateway_children(self.observed), *pods)

    def _delete(self, replicas: list[ReplicaAdmission]) -> tuple[Delete, ...]:
        found = []
        listed = {each.serial for each in self.service.status.admission}
        for serial, pod in self.pods.items():
            replica = next((each for each in replicas if each.serial == serial), None)
            lost = pod.node in self.observed.lost_nodes
            stray = serial not in listed
            if (stray or (replica is not None and self._may_go(replica, pod))) and (pod.deleting_since is None or lost):
                found.append(Delete(pod.name, pod.uid, 0 if lost else None))
        return tuple(found)

    def _may_go(self, replica: ReplicaAdmission, pod: PodState) -> bool:
        if replica.release == "now":
            return True
        if replica.release != "drain":
            return False
        members = membership(self.service, self.observed.pods)
        return drained(
            replica,
            pod,
            members,
            self.observed.gateway_pods,
            self.observed.reports,
            self.now,
            self.service.spec.drain_seconds,
        )

    def _again(self, replicas: list[ReplicaAdmission]) -> float | None:
        draining = DRAIN_POLL_SECONDS if any(each.release == "drain" for each in replicas) else None
        unbound = [
            max(0.5, BIND_SECONDS - (self.now - pod.seen).total_seconds())
            for pod in self.pods.values()
            if not pod.bound and not pod.finished
        ]
        waiting = REFRESH_SECONDS if any(isinstance(each, Wait) for each in self.observed.decisions.values()) else None
        return sooner(draining, waiting, look_seconds(self.service), look_again(self.observed), *unbound)

    # What is said about it.

    def _status(self, replicas: list[ReplicaAdmission]) -> InferenceServiceStatus:
        service = self.service
        staying = [each for each in replicas if not each.release and not is_canary(service, each.digest)]
        scaling = self.observed.scaling
        ready = sum(self._ready(each) for each in staying)
        gateways = ready_replicas(self.observed.deployment)
        reason, message = self._state_of_readiness(staying, ready, gateways)
        serving = reason is Reason.SERVING
        stated = self._admission_condition(service.status.conditions, staying)
        stated = conditions.state(
            stated, ConditionType.READY, serving, reason, message, now=self.now, generation=service.metadata.generation
        )
        fields: dict[str, Any] = {name: getattr(service.status, name) for name in InferenceServiceStatus.model_fields}
        fields |= {
            "observed_generation": service.metadata.generation,
            "conditions": stated,
            "phase": _phase(reason, ready),
            "reason": "" if serving else self._short_reason(stated, reason),
            "desired_replicas": scaling.desired if scaling else service.target(),
            "scaling": scaling,
            "replicas": len(staying),
            "ready_replicas": ready,
            "gateways": gateways,
            "selector": names.selector(service),
            "url": names.url(service),
            "grpc_address": names.grpc_address(service),
            "gpus": service.gpus(),
            "model": self._served(),
            "rollout": self.rollout.status,
            "next_serial": max([service.status.next_serial, *(each.serial + 1 for each in replicas)]),
            "admission": replicas,
            "nominations": self._nominations(),
            "avoid": self.avoid,
            "eta": self.observed.outlook.eta if self.observed.outlook else None,
            "remedies": list(self.observed.outlook.remedies) if self.observed.outlook else [],
            "ready_time": service.status.ready_time or (self.now if serving else None),
        }
        if serving and not conditions.holds(service.status.conditions, ConditionType.READY):
            self.notes.append(Note(Reason.SERVING, message))
        return InferenceServiceStatus.model_construct(**fields)

    def _served(self) -> ServedModel | None:
        """What is served: the model that the spec names from the moment that its rollout has promoted it."""
        model = named(self.observed) if self.rollout.promoted else self.model
        return model if isinstance(model, ServedModel) else self.service.status.model

    def _admission_condition(self, known: Any, staying: list[ReplicaAdmission]) -> Any:
        missing = self.service.target() - len(staying)
        waits = [each for each in self.observed.decisions.values() if isinstance(each, Wait)]
        if missing > 0 and waits:
            first = min(waits, key=lambda each: each.position)
            reason, message = (
                first.verdict.reason.value,
                f"{missing} of {self.service.target()} replicas wait: {first.verdict.message}",
            )
        elif missing > 0:
            reason, message = (
                "PendingEvaluation",
                f"{missing} of {self.service.target()} replicas have no place yet",
            )
        else:
            reason, message = Reason.ADMITTED.value, f"all {len(staying)} replicas have a place"
        return conditions.state(
            known,
            ConditionType.ADMITTED,
            missing <= 0,
            reason,
            message,
            now=self.now,
            generation=self.service.metadata.generation,
        )

    def _short_reason(self, stated: Any, reason: Reason) -> str:
        admitted = conditions.find(stated, ConditionType.ADMITTED)
        if reason is Reason.REPLICAS_STARTING and admitted is not None and admitted.status == "False":
            return admitted.reason
        return reason.value

    def _state_of_readiness(self, staying: list[ReplicaAdmission], ready: int, gateways: int) -> tuple[Reason, str]:
        target = self.service.target()
        if isinstance(self.model, str) and (not staying or self.service.spec.model.graph):
            return Reason.MODEL_NOT_READY, self.model
        if refused := next((words for each in staying if (words := self._refused(each))), None):
            return Reason.MODEL_REFUSED, refused
        if target == 0:
            return Reason.SCALED_TO_ZERO, "no request" if self.service.spec.autoscaling else "spec.replicas is 0"
        if ready < target:
            waits = sorted({pod.waiting or pod.unschedulable for pod in self.pods.values() if not pod.ready} - {""})
            return Reason.REPLICAS_STARTING, f"{ready} of {target} replicas are ready" + (
                f": {'; '.join(waits)}"[:1000] if waits else ""
            )
        if gateways == 0:
            refusal = f": {self.observed.refusal}" if self.observed.refusal else ""
            return Reason.GATEWAY_STARTING, f"replicas are ready; no gateway is yet{refusal}"
        wanted = named(self.observed)
        kept = f"; the old model stays: {wanted}" if isinstance(wanted, str) else ""
        return Reason.SERVING, f"{ready} replicas answer behind {gateways} gateways{kept}"

    def _refused(self, replica: ReplicaAdmission) -> str | None:
        """The server ended because of the model file: its words, as long as it has not come up since."""
        pod = self.pods.get(replica.serial)
        if pod is None or pod.ready:
            return None
        exit_ = pod.exit or pod.last_exit
        if exit_ is None or exit_.code != _REFUSED_EXIT:
            return None
        return f"{pod.name} does not serve the model: {exit_.report.get('cause') or exit_.message}".strip()[:1000]


def _phase(reason: Reason, ready: int) -> str:
    if reason is Reason.SERVING:
        return "Ready"
    if reason is Reason.SCALED_TO_ZERO:
        return "ScaledToZero"
    if reason is Reason.MODEL_NOT_READY:
        return "Pending"
    return "Degraded" if ready else "Starting"


def _dump(status: InferenceServiceStatus) -> dict[str, Any]:
    return status.model_dump(by_alias=True, mode="json")


def _statements(status: InferenceServiceStatus) -> set[tuple[str, str, str]]:
    return {(each.type, each.status, each.reason) for each in status.conditions}

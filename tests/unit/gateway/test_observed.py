"""HAProxy's own words, as 2.6 prints them, and what is made of them."""

import pytest
from gateway.observed import Server, parse_observed

INFO = "Name: HAProxy\nVersion: 2.6.12\nPid: 77\nUptime_sec: 4\nStart_time_sec: 1795466889\nnode: gateway-0\n"
STATE_COLUMNS = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port\n"
)
STATE = (
    f"1\n{STATE_COLUMNS}"
    "3 replicas 1 pod-a 10.0.0.1 2 0 100 0 1 15 3 2 6 0 0 0 - 8080 - 0 0 - - 0\n"
    "3 replicas 2 pod-b fd00::1 0 8 0 0 1 0 2 0 6 0 0 0 - 8080 - 0 0 - - 0\n"
    "3 replicas 3 pod-c 10.0.0.3 0 1 0 0 1 0 0 0 2 0 0 0 - 8080 - 0 0 - - 0\n\n"
)
STAT = (
    "# pxname,svname,qcur,scur,slim,req_tot\n"
    "traffic,FRONTEND,,3,9986,41\n"
    "replicas,pod-a,1,2,4,\n"
    "replicas,pod-b,0,0,4,\n"
    "replicas,BACKEND,5,2,999,39\n\n"
)
CONNECTIONS = (
    "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim idle_cur "
    "idle_per_thr[2]\n"
    "replicas/pod-a 3/1 10.0.0.1 8080 - 2000 1 1 1 2 0 64 2 1 1\n"
    "replicas/pod-b 3/2 fd00::1 8080 - 2000 7 9 1 2 0 64 2 1 1\n\n"
)
MAP = "0x55d5a0 pod-a sha256:aa\n0x55d5b0 gone sha256:bb\n\n"


def test_the_tables_of_haproxy_are_understood() -> None:
    observed = parse_observed(INFO, STATE, STAT, CONNECTIONS, MAP)
    assert observed.servers == (
        Server("pod-a", "10.0.0.1", 8080, maxconn=4, in_use=3, digest="sha256:aa"),
        Server(
            "pod-b", "fd00::1", 8080, drain=True, running=False, check_passed=False, weight=0, maxconn=4, in_use=7
        ),
        Server(
            "pod-c", "10.0.0.3", 8080, maintenance=True, running=False, check_enabled=False, check_passed=False, weight=0
        ),
    )  # fmt: skip
    assert observed.boot == "77@1795466889"
    assert observed.digests == {"pod-a", "gone"}
    assert (observed.queued, observed.requests) == (5, 41)


def test_a_server_is_up_until_haproxy_says_otherwise() -> None:
    assert Server("a", "10.0.0.1", 8080, check_passed=False).up, "one failed check is not yet a verdict"
    assert not Server("a", "10.0.0.1", 8080, weight=0).up
    assert not Server("a", "10.0.0.1", 8080, drain=True).up


@pytest.mark.parametrize("broken", ["", "Unknown command.\n", "Can't find backend.\n"])
def test_an_error_line_is_not_taken_for_an_empty_table(broken: str) -> None:
    with pytest.raises(ValueError, match="expected a table"):
        parse_observed(INFO, broken, STAT, CONNECTIONS, MAP)

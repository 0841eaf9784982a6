/* PID 1 of a pod's sandbox: holds the pod's namespaces, and reaps what is left of its containers' processes.
 * Ours, because no registry may be reachable where the local cluster runs. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal_number) {
    (void)signal_number;
    _exit(0);
}

static void reap(int signal_number) {
    (void)signal_number;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void) {
    struct sigaction on_stop = {.sa_handler = stop};
    struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
    if (sigaction(SIGTERM, &on_stop, 0) != 0 || sigaction(SIGINT, &on_stop, 0) != 0 ||
        sigaction(SIGCHLD, &on_child, 0) != 0) {
        return 1;
    }
    for (;;) {
        pause();
    }
}

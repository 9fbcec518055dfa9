/* SPDX-License-Identifier: BSD-3-Clause */
/* ringplug.h - the C ABI of ringplug, and its manual.
 *
 * ringplug gives a guest its network. A *plug* is the emulator's end of it: Ethernet frames go in
 * and come out. A *locator* says what network that is:
 *
 *     slirp?hostfwd=tcp:127.0.0.1:2222-:22      user-mode NAT
 *     switch:lan0                               the switch of that name, in another process
 *     null                                      nothing at the other end
 *
 * `ringplug locators` lists them all. The shortest program:
 *
 *     rp_error err = RP_ERROR_INIT;
 *     rp_plug *plug;
 *     if (rp_plug_open("slirp", NULL, &plug, &err) != 0) {
 *         complain(err.message);
 *         return;
 *     }
 *     rp_plug_send(plug, frame, length);
 *     struct pollfd p = { rp_plug_fd(plug), POLLIN, 0 };
 *     while (poll(&p, 1, -1) > 0) {
 *         ssize_t n = rp_plug_recv(plug, buffer, sizeof buffer);
 *         if (n > 0) deliver(buffer, n);
 *     }
 *     rp_plug_close(plug);
 *
 * HOW IT IS BUILT. A plug is one port of a *switch*; a locator opens another. rp_plug_open() makes a
 * private switch of those two on a thread of its own. With rp_switch_new() the host makes a switch
 * itself, adds ports to it by locator, joins any number of plugs, and may run it on its own loop.
 *
 * THE RING. Plug and switch share memory that holds two virtqueues (virtio 1.2, 2.7):
 *
 *     from guest   [ . . . R R R R r . . . ]    R committed: the switch's until it is done with them
 *                          |       |            r reserved: yours, one at a time
 *                       freed   reserve         . free
 *
 *     to guest     [ e e F F F e e e e e e ]    F frames that wait: the switch wrote them, yours
 *                        |     |                  from peek to release
 *                     release  peek             e empty: the switch's to fill
 *
 * rp_plug_send() and rp_plug_recv() copy; reserve/commit and peek/release don't.
 *
 * ANOTHER PROCESS. Of rp_plug_open("switch:lan0"), the switch is that of another process of the same
 * user, which offers it by rp_switch_listen() (`ringplug switch lan0` does). The two share the ring's
 * memory and nothing else; a frame takes no further hop. When that process dies, the plug waits for
 * the next of that name, and goes on with it by itself, a fraction of a second after it listens.
 * Frames sent meanwhile wait in the ring; when that is full, rp_plug_send() says RP_ERESOURCES. A
 * frame that the dead process had in hand may arrive twice, or, having left the ring, not at all.
 * The plug's descriptor may be readable once without a frame then; a receive, which returns 0, ends
 * that. A process that writes nonsense to the ring kills the plug for good (RP_ECLOSED), whoever
 * comes next.
 *
 * THREADS. A plug may be used by one sending and one receiving thread at the same time; calls of the
 * same direction must not overlap, and rp_plug_close() must not overlap with any call on the plug.
 * Calls on a switch may come from any thread when the switch has its own; rp_switch_free() must not
 * overlap with any call on the switch, but may with those on its plugs, their close included. When
 * the host runs the switch, all calls on it and its plugs' join, counters and close come from the
 * thread that dispatches.
 * No call may be made from inside the log callback.
 *
 * THE HOST PROCESS stays as it was: no signal handlers, no signals, no environment, no limits are
 * touched. ringplug writes nothing but its log: to the callback you gave, else to GLib's structured
 * log. Threads are named rp-*, block all signals but SIGBUS, and are gone after the last close,
 * as are all descriptors and mappings. All descriptors are close-on-exec. After fork() the child
 * must not use any object: calls return RP_ECLOSED there; rp_*_close() and _free() do nothing.
 *
 * ERRORS. Calls that can fail for a reason that a person should read return 0 or a negative RP_E*
 * code and fill in an rp_error; the object then is as it was before and outputs are untouched. The
 * data calls, from rp_plug_send() on, have none: they return the code alone, where they return one.
 *
 * ABI. Structs that the host fills in start with their size; RP_*_INIT sets it. Fields are only
 * ever added at the end.
 */
#ifndef RINGPLUG_H
#define RINGPLUG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(RP_BUILDING)
#define RP_API __attribute__((visibility("default")))
#else
#define RP_API
#endif

/* ---- Errors ------------------------------------------------------------------------------- */

enum {
  RP_OK = 0,
  RP_EINVALID = -1,     /* an argument or a text is wrong: mend it; the message names it */
  RP_EUNKNOWN = -2,     /* no such scheme, option or port; the message lists what there is */
  RP_EBUSY = -3,        /* a name, address or port is taken; the message says by whom if it can */
  RP_EDENIED = -4,      /* a right is missing; the message names it and the remedy */
  RP_ENOTFOUND = -5,    /* no such file, device or peer */
  RP_EUNSUPPORTED = -6, /* this build or host can't do it */
  RP_ERESOURCES = -7,   /* out of memory or descriptors, or a cap is reached: free some, retry */
  RP_ESYSTEM = -8,      /* a system call failed; the message has its text */
  RP_ECLOSED = -9,      /* after fork(): the object is the parent's; of a plug: its switch was freed,
                           or what shares its memory broke the ring. For good: close the plug */
  RP_EINTERNAL = -10    /* a bug in ringplug: please report it */
};

typedef struct rp_error {
  size_t size;       /* sizeof(rp_error), set by the host */
  int code;          /* RP_E* */
  char message[500]; /* one sentence, NUL-terminated, no newline; names the thing and the remedy */
} rp_error;
#define RP_ERROR_INIT {sizeof(rp_error), 0, {0}}

/* ---- Library ------------------------------------------------------------------------------ */

/* The version of the library in use, such as "0.1.0". Static. */
RP_API const char *rp_version(void);

/* For a SIGBUS handler of the host's (SA_SIGINFO; pass si_addr): a guest whose memory we share may cut
 * it short, and the thread that touches it then gets this signal. 1: the address was in such memory;
 * zeroes are there now, so return from the handler; the guest's port ends. 0: it was not ours. The
 * library itself handles no signal; `ringplug switch` does. Any thread; async-signal-safe. */
RP_API int rp_handle_sigbus(const void *address);

/* What a log callback is told. */
enum { RP_LOG_ERROR = 0, RP_LOG_WARNING = 1, RP_LOG_INFO = 2, RP_LOG_DEBUG = 3 };

/* Called with one sentence, without a newline, on any thread; never per frame. It must return soon
 * and must not call into ringplug. */
typedef void (*rp_log_fn)(void *opaque, int level, const char *sentence);

/* What a switch asks of the kernel while it runs, for a host that sandboxes itself, as `ringplug switch`
 * does; see rp_needs(). Values from 9 on may come: a host that does not know one can't confine it. */
enum {
  RP_NEED_CALL = 0,       /* a system call, by its name */
  RP_NEED_FAMILY = 1,     /* of sockets, besides UNIX datagrams: "inet", "inet6", "netlink", "packet";
                             "abstract": UNIX ones without a file; "unix-stream": to connect to */
  RP_NEED_IOCTL = 2,      /* a request, as a decimal number */
  RP_NEED_READ = 3,       /* a file, or all in a folder */
  RP_NEED_WRITE = 4,      /* the same, to be read and written */
  RP_NEED_FOLDER = 5,     /* where sockets are made and removed, and which is listed */
  RP_NEED_REMOVE = 6,     /* a folder whence names are removed */
  RP_NEED_CAPABILITY = 7, /* as "net_admin" */
  RP_NEED_CODE = 8        /* code that we don't know may run, also programs: whose it is */
};
typedef void (*rp_need_fn)(void *opaque, int need, const char *value);

/* Calls fn with all that a switch needs to go on once this locator was opened, by rp_switch_listen() if
 * `listens`, else by rp_switch_add(). Names may come twice; threads are started by clone() with
 * CLONE_THREAD. Opens nothing. Errors: as those of the locator. */
RP_API int rp_needs(const char *locator, int listens, rp_need_fn fn, void *opaque, rp_error *err);

/* Describes one option of a locator's scheme; see rp_locators(). All strings are static. */
typedef struct rp_locator_info {
  size_t size;          /* set by the library */
  const char *scheme;   /* "slirp" */
  const char *target;   /* syntax of what follows "scheme:"; "" when nothing may */
  const char *summary;  /* of the scheme */
  const char *example;  /* a whole locator */
  const char *option;   /* NULL in the first call for a scheme, then each option's name */
  const char *syntax;   /* of the option's value */
  const char *fallback; /* the option's default as a user would write it; "" when there is none */
  const char *text;     /* what the option does */
} rp_locator_info;

/* Calls fn for each scheme, then for each of its options, in the order of the documentation; last
 * for the scheme "*", whose options every locator takes. The struct is valid during the call. This is the table that parses locators. */
RP_API void rp_locators(void (*fn)(void *opaque, const rp_locator_info *info), void *opaque);

/* ---- Switches ----------------------------------------------------------------------------- */

typedef struct rp_switch rp_switch;
typedef struct rp_plug rp_plug;
typedef uint32_t rp_port; /* names a port of one switch; a port that is gone lends its name to another
                             only after 65,535 others had its slot */

/* Told how many ports came in by doors and are there, whenever that changes. On the switch's thread:
 * it must return soon and must not call into ringplug. */
typedef void (*rp_visitors_fn)(void *opaque, size_t visitors);

typedef struct rp_switch_options {
  size_t size;          /* sizeof(rp_switch_options) */
  int host_loop;        /* 0: a thread of its own; 1: the host polls rp_switch_fd() */
  int poll_us;          /* busy time before sleeping, microseconds; -1: default (20; 0 on a host loop) */
  uint32_t mac_entries; /* most addresses learned; 0: default (4096) */
  uint32_t mac_ageing;  /* seconds after which an unused address is forgotten; 0: default (300) */
  rp_log_fn log;        /* NULL: GLib's structured log, domain "ringplug" */
  void *log_opaque;
  rp_visitors_fn visitors; /* NULL: nobody asks */
  void *visitors_opaque;
} rp_switch_options;
#define RP_SWITCH_OPTIONS_INIT {sizeof(rp_switch_options), 0, -1, 0, 0, NULL, NULL, NULL, NULL}

/* Makes a switch without ports. `options` may be NULL. The caller frees it. */
RP_API int rp_switch_new(const rp_switch_options *options, rp_switch **out, rp_error *err);

/* Closes all its ports and ends its thread. Plugs that joined it stay valid but dead: they must
 * still be closed, give what waits in them, and send nothing: RP_ECLOSED. NULL is allowed. */
RP_API void rp_switch_free(rp_switch *sw);

/* Opens what the locator names as a port of the switch. `port` may be NULL. Blocks until the port
 * works. Errors: RP_EUNKNOWN, RP_EINVALID for the locator; RP_EBUSY, RP_EDENIED, RP_ENOTFOUND for
 * what it names. */
RP_API int rp_switch_add(rp_switch *sw, const char *locator, rp_port *port, rp_error *err);

/* As rp_switch_add(), as a door: a scheme that can join a network or offer one (vde, switch) listens
 * for others to join, on what the locator names. Each plug that comes in through "switch:NAME" is a
 * port named "plug:PID" after its process, and goes with it. */
RP_API int rp_switch_listen(rp_switch *sw, const char *locator, rp_port *port, rp_error *err);

/* Closes a port. RP_EUNKNOWN: there is none of that name. RP_EINVALID: it is a plug's, which goes by
 * rp_plug_close(). */
RP_API int rp_switch_remove(rp_switch *sw, rp_port port, rp_error *err);

/* A switch on the host's loop: this descriptor is readable (level-triggered) when
 * rp_switch_dispatch() has work. -1: the switch has a thread of its own. Owned by the switch. */
RP_API int rp_switch_fd(const rp_switch *sw);

/* Does the work there is, for a bounded number of turns, each of a burst of frames from each port;
 * never blocks. More work than that leaves rp_switch_fd() readable. SIGPIPE and other signals
 * that the work itself raises don't reach the host. */
RP_API void rp_switch_dispatch(rp_switch *sw);

/* One counter of one port. Strings are valid during the call; values only grow, but for gauges
 * such as "flows.open". */
typedef void (*rp_counter_fn)(void *opaque, rp_port port, const char *port_name,
                              const char *counter, uint64_t value);

/* Calls fn for each counter of each port, drops with their reasons included. Consistent: taken
 * between two turns of the switch. fn runs on the calling thread. */
RP_API int rp_switch_counters(rp_switch *sw, rp_counter_fn fn, void *opaque, rp_error *err);

/* One port; valid during the call. */
typedef struct rp_port_info {
  size_t size;        /* set by the library */
  rp_port port;
  const char *name;   /* as in counters */
  int link;           /* 1: it takes frames; 0: nobody is at its other end */
  const char *detail; /* what was agreed with the other end, for people: words joined by blanks */
  unsigned number;    /* see rp_switch_set(); 0: none, it only lets others in */
} rp_port_info;
typedef void (*rp_port_fn)(void *opaque, const rp_port_info *info);

/* Calls fn for each port; taken and called as in rp_switch_counters(). */
RP_API int rp_switch_ports(rp_switch *sw, rp_port_fn fn, void *opaque, rp_error *err);

/* One address that was learned; valid during the call. */
typedef struct rp_address_info {
  size_t size;    /* set by the library */
  uint8_t mac[6];
  uint16_t vlan;  /* 0: untagged */
  rp_port port;   /* where it lives */
  uint32_t age;   /* seconds since it last sent */
  int is_static;  /* 1: it was set, and stays */
} rp_address_info;
typedef void (*rp_address_fn)(void *opaque, const rp_address_info *info);

/* Calls fn for each address in the MAC table, in no order; taken and called as in
 * rp_switch_counters(). */
RP_API int rp_switch_addresses(rp_switch *sw, rp_address_fn fn, void *opaque, rp_error *err);

/* Sets something of the switch (number 0) or of a port number, by the names and values that
 * rp_locators() lists for "*"; for the switch itself, hub=on|off, mac-ageing=SECONDS,
 * mac-hold=SECONDS (an address moves only when its owner was silent for so long) and ports=N (the
 * highest number); for a number also user=NAME|any and group=NAME|any (whose processes may take it)
 * and allocatable=on|off (taken by who asks for none). Port numbers count from 1, each port has one,
 * several may share one. What was set waits for the next port of the number, and takes effect
 * between two turns of the switch; addresses learned there are forgotten. RP_EUNKNOWN, RP_EINVALID:
 * no such key or value; nothing changed. */
RP_API int rp_switch_set(rp_switch *sw, unsigned number, const char *key, const char *value,
                         rp_error *err);

/* Takes back all that was set of a number. RP_EBUSY: a port has it. RP_EUNKNOWN: nothing was set. */
RP_API int rp_switch_forget(rp_switch *sw, unsigned number, rp_error *err);

/* One setting; strings are valid during the call. What is told can be set again. */
typedef void (*rp_setting_fn)(void *opaque, unsigned number, const char *key, const char *value);

/* Calls fn for all that can be set of the switch, and of each number that has a port or settings of
 * its own, in their order; taken and called as in rp_switch_counters(). */
RP_API int rp_switch_settings(rp_switch *sw, rp_setting_fn fn, void *opaque, rp_error *err);

/* Sets what the switch counted at the ports of a number to zero; number 0: at all ports. */
RP_API int rp_switch_reset_counters(rp_switch *sw, unsigned number, rp_error *err);

/* ---- Switches that others find by name ---------------------------------------------------- */

/* Claims a name on this host for the switch, among those of the same user: listens on the UNIX stream
 * socket rp_runtime_path(name, ".control"), mode 0600. *control is its descriptor, non-blocking and
 * owned by the switch: the host accepts there and answers, as `ringplug switch` answers
 * `ringplug show`, and no longer watches it when it calls rp_switch_free(), which takes the socket
 * away. What a dead process left is replaced.
 * RP_EBUSY: a switch of that name runs; the message has its pid. RP_EINVALID: this is no name (1 to
 * 64 letters, digits, '.', '_' and '-', the first no '.'), or the switch has one. RP_EDENIED: the
 * directory is open to others. */
RP_API int rp_switch_publish(rp_switch *sw, const char *name, int *control, rp_error *err);

/* Listens on the UNIX stream socket `path`, mode 0600, for the host to accept and answer there as on
 * rp_switch_publish()'s, whose rules hold for *fd too: `ringplug switch --mgmt` has its console on
 * one. RP_EBUSY: a process listens there. RP_EINVALID: something that is no socket lies there, or the
 * path is too long. */
RP_API int rp_switch_manage(rp_switch *sw, const char *path, int *fd, rp_error *err);

/* Writes to `out` where the switch `name` of this user has its socket `suffix` (".control"); with
 * name NULL, the directory of all of them: $XDG_RUNTIME_DIR/ringplug, else /run/user/UID/ringplug, each
 * unless the first part is another user's, else /tmp/ringplug-UID/ringplug. The directory is made, mode 0700, when it is missing; the socket
 * need not exist. With a name, 108 bytes of `capacity` always do. RP_EINVALID: no such name can be,
 * the path would be too long for a socket, or longer than capacity. RP_EDENIED: the directory is not
 * the user's, or open to others. */
RP_API int rp_runtime_path(const char *name, const char *suffix, char *out, size_t capacity,
                           rp_error *err);

/* ---- The host ----------------------------------------------------------------------------- */

enum { RP_NIC_UNKNOWN = 0, RP_NIC_PHYSICAL = 1, RP_NIC_VIRTUAL = 2, RP_NIC_PARAVIRTUAL = 3,
       RP_NIC_SRIOV_VF = 4 };

/* One network device of the host; valid during the call. */
typedef struct rp_nic_info {
  size_t size;           /* set by the library */
  const char *name;
  uint32_t index;
  int type;              /* RP_NIC_* */
  const char *type_name; /* "physical", "virtual", "paravirtual", "sr-iov vf", "unknown" */
  const char *kind;      /* what made it, as "bridge" or "veth"; "" for none */
  const char *driver;    /* "" for none */
  const char *bus;       /* as "pci", "usb" or "virtio"; "" for none */
  const char *evidence;  /* what decided on the type, for people */
  uint8_t mac[6];
  uint32_t mtu;          /* bytes */
  int up;                /* 1: an administrator has it up */
} rp_nic_info;
typedef void (*rp_nic_fn)(void *opaque, const rp_nic_info *info);

/* Calls fn for each network device of the calling thread's network namespace. Whether one is hardware
 * is told by where the kernel hangs it and what made it, never by its name or address. */
RP_API int rp_nics_list(rp_nic_fn fn, void *opaque, rp_error *err);

/* One thing that was looked at; valid during the call. */
typedef struct rp_finding {
  size_t size;        /* set by the library */
  const char *what;   /* as "/dev/net/tun" or "CAP_NET_ADMIN" */
  int fine;           /* 1: nothing is missing */
  const char *found;  /* one sentence */
  const char *remedy; /* what to run or to ask for; "" when nothing is missing */
} rp_finding;
typedef void (*rp_finding_fn)(void *opaque, const rp_finding *finding);

/* Looks at what this host lets this process do for the modes that use its devices, and calls fn for
 * each thing. Changes nothing. */
RP_API int rp_host_examine(rp_finding_fn fn, void *opaque, rp_error *err);

/* ---- Plugs -------------------------------------------------------------------------------- */

/* Offload metadata of a frame: struct virtio_net_hdr in host byte order (virtio 1.2, 5.1.6). All
 * zero: the frame is complete. */
typedef struct rp_offload {
  uint8_t flags;    /* VIRTIO_NET_HDR_F_NEEDS_CSUM 1, VIRTIO_NET_HDR_F_DATA_VALID 2 */
  uint8_t gso_type; /* VIRTIO_NET_HDR_GSO_NONE 0, TCPV4 1, TCPV6 4, UDP_L4 5, ECN 0x80 */
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
} rp_offload;

/* What the host takes from the switch unfinished. What it sends may use any offload. */
enum { RP_OFFLOAD_CSUM = 1, RP_OFFLOAD_TSO4 = 2, RP_OFFLOAD_TSO6 = 4, RP_OFFLOAD_ECN = 8,
       RP_OFFLOAD_USO = 16 };

/* The longest frame, bytes: a 64 KiB segment with Ethernet and two 802.1Q headers. */
#define RP_MAX_FRAME 65557

typedef struct rp_plug_options {
  size_t size;       /* sizeof(rp_plug_options) */
  unsigned offloads; /* RP_OFFLOAD_*; 0: every frame comes complete */
  const char *name;  /* of the port, in counters; NULL: "plug". Another process names it itself */
  int poll_us;       /* rp_plug_open(): as in rp_switch_options, of the private switch */
  rp_log_fn log;     /* rp_plug_open(): as in rp_switch_options */
  void *log_opaque;
  unsigned mtu; /* rp_plug_open(): what slirp takes where its locator says no mtu=, bytes, for a host
                 * whose network cards carry more than Ethernet's 1500; 0: the mode's default */
} rp_plug_options;
#define RP_PLUG_OPTIONS_INIT {sizeof(rp_plug_options), 0, NULL, -1, NULL, NULL, 0}

/* Opens a plug to what the locator names, in one call: a private switch with a thread of its own and
 * two ports; to "switch:NAME", with no switch of its own, but a thread that sleeps until the other
 * process dies. `options` may be NULL. Errors as rp_switch_add(); RP_ENOTFOUND: no switch of that
 * name runs. RP_EUNSUPPORTED: what listens in its place is none, or of another version. RP_ESYSTEM:
 * it did not answer within 2 seconds. */
RP_API int rp_plug_open(const char *locator, const rp_plug_options *options, rp_plug **out,
                        rp_error *err);

/* Adds a plug to a switch. The switch must outlive neither: see rp_switch_free(). */
RP_API int rp_plug_join(rp_switch *sw, const rp_plug_options *options, rp_plug **out,
                        rp_error *err);

/* Unplugs, and closes the private switch if there is one: when it returns, its thread, descriptors
 * and mappings are gone. NULL is allowed. */
RP_API void rp_plug_close(rp_plug *plug);

/* Readable exactly while a frame waits; poll it level-triggered. Don't read it. Owned by the plug. */
RP_API int rp_plug_fd(const rp_plug *plug);

/* The plug's port on its switch, for rp_switch_counters(). 0: the switch is another process'. */
RP_API rp_port rp_plug_port(const rp_plug *plug);

/* As rp_switch_counters(), of the switch that the plug is on; of another process' switch, which keeps
 * its counters to itself, fn is never called. RP_ECLOSED: the switch was freed. */
RP_API int rp_plug_counters(rp_plug *plug, rp_counter_fn fn, void *opaque, rp_error *err);

/* The data calls. A plug that is NULL is RP_EINVALID to those that return a code. RP_ECLOSED, or
 * nothing where no code is returned, comes in a child after fork(), and once the plug is dead: its
 * switch was freed, or its shared memory holds what no switch writes. */

/* Sends one complete frame, `length` bytes from the destination address on, without FCS. Returns
 * length, or RP_ERESOURCES when the ring is full (the frame was not sent; nothing to wait on: the
 * switch is that much behind), RP_EINVALID when length is 0 or above RP_MAX_FRAME, RP_ECLOSED when the
 * plug is dead. Voids a reservation. Never blocks. */
RP_API ssize_t rp_plug_send(rp_plug *plug, const void *frame, size_t length);

/* Receives one frame into `buffer`. Returns its length, 0 when none waits, RP_ECLOSED when none waits
 * and the plug is dead. A frame longer than `capacity` is cut to it, and the return value is its
 * whole length. Never blocks. */
RP_API ssize_t rp_plug_recv(rp_plug *plug, void *buffer, size_t capacity);

/* One frame of a batch. */
typedef struct rp_frame {
  void *data;
  size_t length;      /* bytes; rp_plug_recv_batch(): capacity before, length after */
  rp_offload offload; /* all zero: complete */
} rp_frame;

/* Sends up to n frames with one notification. Returns how many were sent; fewer than n: the ring is
 * full, frames[result] has no valid length, or the plug is dead. Voids a reservation. */
RP_API size_t rp_plug_send_batch(rp_plug *plug, const rp_frame *frames, size_t n);

/* Receives up to n frames into the buffers that frames[i].data and .length name. Returns how many;
 * lengths are those of the whole frames, as in rp_plug_recv(). */
RP_API size_t rp_plug_recv_batch(rp_plug *plug, rp_frame *frames, size_t n);

/* Zero-copy sending: a place in the ring for a frame of at most `length` bytes, valid until the next
 * commit, reserve, send or send_batch. NULL: the ring is full, length is 0 or above RP_MAX_FRAME, or
 * the plug is dead. */
RP_API void *rp_plug_reserve(rp_plug *plug, size_t length);

/* Sends the first `length` bytes of the reserved place. `offload` may be NULL. The switch sees the
 * frame at the next rp_plug_kick() at the latest. RP_EINVALID: nothing is reserved, or less than
 * length. RP_ECLOSED: the plug is dead. */
RP_API int rp_plug_commit(rp_plug *plug, size_t length, const rp_offload *offload);

/* Makes committed frames visible and wakes the switch if it sleeps; a system call only then. */
RP_API void rp_plug_kick(rp_plug *plug);

/* Zero-copy receiving: fills in up to n of the frames that wait, oldest first, without taking them.
 * Their bytes are yours to read until rp_plug_release(). Returns how many (fewer than wait, when one
 * had to be put together). A second peek starts over. */
RP_API size_t rp_plug_peek(rp_plug *plug, rp_frame *frames, size_t n);

/* Takes the first n frames of the last peek; their bytes are the switch's again. RP_EINVALID: n is
 * more than the last peek showed. RP_ECLOSED: after fork(). */
RP_API int rp_plug_release(rp_plug *plug, size_t n);

#ifdef __cplusplus
}
#endif

#endif /* RINGPLUG_H */

//! The filter of system calls: what no build or test needs, and what goes round the other layers.
//! Start at [`filter`].
//!
//! A list of what is refused, not of what is allowed: programs keep getting new harmless calls. Three filters, since a
//! filter has one answer: not permitted; not there, for what programs do without (`clone3`, whose flags cannot be seen, and
//! `io_uring`, which does its work unseen); and numbers of another architecture's way to call.

use super::plan::Plan;
use contract::confine::Network;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

/// Not permitted, whatever the arguments.
const REFUSED: &[libc::c_long] = &[
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // The view of files.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_syslog,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // Keys of the session.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];
/// Not there.
const ABSENT: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
/// Namespaces that `clone` and `unshare` make.
const SPACES: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];
/// How a process runs, which is named first.
const RUNNING: [libc::c_long; 4] = [
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
];
/// The same, with what the number means before it: the word for a process.
const RUNNING_OF: [(libc::c_long, i32); 2] = [(libc::SYS_setpriority, 0), (libc::SYS_ioprio_set, 1)];
/// Puts characters into a terminal as if they were typed; and what a console does besides.
const TYPING: [u64; 2] = [libc::TIOCSTI, 0x541C];
/// Bit of a number that another way to call has (x32).
const FOREIGN: u32 = 0x4000_0000;

/// The filters for such a plan as bytes, compiled once per process: to compile them takes longer than to start a command.
pub(super) fn compiled(namespaces: bool, network: Network) -> io::Result<Vec<Vec<u8>>> {
    static KEPT: [OnceLock<Vec<Vec<u8>>>; 4] = [const { OnceLock::new() }; 4];
    let kept = &KEPT[usize::from(namespaces) * 2 + usize::from(network == Network::On)];
    if let Some(kept) = kept.get() {
        return Ok(kept.clone());
    }
    let programs = programs(namespaces, network)?;
    Ok(kept.get_or_init(|| programs.iter().map(|program| written(program)).collect()).clone())
}

fn written(program: &[sock_filter]) -> Vec<u8> {
    let one = |it: &sock_filter| {
        let [c, d] = it.code.to_ne_bytes();
        let [k0, k1, k2, k3] = it.k.to_ne_bytes();
        [c, d, it.jt, it.jf, k0, k1, k2, k3]
    };
    program.iter().flat_map(one).collect()
}

fn read(bytes: &[u8]) -> BpfProgram {
    let (all, _) = bytes.as_chunks::<8>();
    let one = |[c, d, jt, jf, k @ ..]: &[u8; 8]| sock_filter {
        code: u16::from_ne_bytes([*c, *d]),
        jt: *jt,
        jf: *jf,
        k: u32::from_ne_bytes(*k),
    };
    all.iter().map(one).collect()
}

/// Filters the calls of this process and of whatever it starts.
pub(super) fn filter(plan: &Plan) -> io::Result<()> {
    for program in &plan.filters {
        apply_filter(&read(program)).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => io::Error::other(other.to_string()),
        })?;
    }
    Ok(())
}

fn programs(namespaces: bool, network: Network) -> io::Result<Vec<BpfProgram>> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let spaces = || SPACES.map(|flag| vec![masked(0, flag)]).to_vec();
    refused.insert(libc::SYS_unshare, any(spaces())?);
    refused.insert(libc::SYS_clone, any(spaces())?);
    refused.insert(libc::SYS_ioctl, any(TYPING.map(|request| vec![equals(1, request)]).to_vec())?);
    refused.insert(libc::SYS_socket, any(sockets(namespaces, network))?);
    // Limits of others; its own are number 0.
    refused.insert(libc::SYS_prlimit64, any(vec![vec![differs(0, 0)]])?);
    if !namespaces {
        // Nor how others run. Where it counts its own processes it sees no other.
        for call in RUNNING {
            refused.insert(call, any(vec![vec![differs(0, 0)]])?);
        }
        for (call, process) in RUNNING_OF {
            refused.insert(call, any(vec![vec![differs(0, process)], vec![differs(1, 0)]])?);
        }
    }
    let absent = ABSENT.iter().map(|call| (*call, Vec::new())).collect();
    let mut all = vec![compile(absent, libc::ENOSYS)?, compile(refused, libc::EPERM)?];
    if cfg!(target_arch = "x86_64") {
        all.push(foreign());
    }
    Ok(all)
}

/// Families of sockets that stay: local ones where only its own are in sight, the internet where there is one or where it
/// is cut off by itself, and the kernel's answers about addresses. Nothing raw.
fn sockets(namespaces: bool, network: Network) -> Vec<Vec<Option<SeccompCondition>>> {
    let internet = namespaces || network == Network::On;
    let mut families = vec![libc::AF_NETLINK];
    if internet {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    if namespaces {
        families.push(libc::AF_UNIX);
    }
    let others = families.iter().map(|family| differs(0, *family)).collect();
    let raw = |family: i32| vec![equals(0, family.unsigned_abs().into()), kind(libc::SOCK_RAW)];
    vec![
        others,
        raw(libc::AF_INET),
        raw(libc::AF_INET6),
        // Of the kernel's answers only those about addresses.
        vec![equals(0, libc::AF_NETLINK.unsigned_abs().into()), differs(2, libc::NETLINK_ROUTE)],
    ]
}

fn condition(arg: u8, how: SeccompCmpOp, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(arg, SeccompCmpArgLen::Dword, how, value).ok()
}

fn equals(arg: u8, value: u64) -> Option<SeccompCondition> {
    condition(arg, SeccompCmpOp::Eq, value)
}

fn differs(arg: u8, value: i32) -> Option<SeccompCondition> {
    condition(arg, SeccompCmpOp::Ne, value.unsigned_abs().into())
}

fn masked(arg: u8, flag: i32) -> Option<SeccompCondition> {
    let flag = u64::from(flag.unsigned_abs());
    condition(arg, SeccompCmpOp::MaskedEq(flag), flag)
}

/// The kind of a socket, without the flags that stand beside it.
fn kind(of: i32) -> Option<SeccompCondition> {
    condition(1, SeccompCmpOp::MaskedEq(0xf), of.unsigned_abs().into())
}

/// Rules of which any suffices. A condition that could not be made must not be left out: the rule would refuse more.
fn any(rules: Vec<Vec<Option<SeccompCondition>>>) -> io::Result<Vec<SeccompRule>> {
    let made = rules.into_iter().map(|conditions| {
        let conditions: Option<Vec<_>> = conditions.into_iter().collect();
        conditions.and_then(|conditions| SeccompRule::new(conditions).ok())
    });
    made.collect::<Option<Vec<_>>>().ok_or_else(|| io::Error::other("a condition of the filter is invalid"))
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> io::Result<BpfProgram> {
    let wrong = |error: seccompiler::BackendError| io::Error::other(error.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(wrong)?;
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, arch).map_err(wrong)?;
    filter.try_into().map_err(wrong)
}

/// Refuses numbers with that bit: the same calls by another name.
fn foreign() -> BpfProgram {
    let load_number = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let jump_if_foreign = sock_filter { code: 0x35, jt: 0, jf: 1, k: FOREIGN };
    let answer = |k: u32| sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    vec![load_number, jump_if_foreign, answer(refused), answer(libc::SECCOMP_RET_ALLOW)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_a_filter() {
        for namespaces in [true, false] {
            for network in [Network::Off, Network::Hosts, Network::On] {
                let programs = programs(namespaces, network).unwrap();
                // What the kernel takes at most.
                assert!(programs.iter().all(|program| program.len() < 4096), "{namespaces} {network:?}");
                let kept = compiled(namespaces, network).unwrap();
                let same =
                    |(bytes, program): (&Vec<u8>, &BpfProgram)| written(&read(bytes)) == written(program);
                assert!(kept.len() == programs.len() && kept.iter().zip(&programs).all(same));
            }
        }
    }

    #[test]
    fn the_internet_is_left_where_it_is_cut_off_elsewhere() {
        let families = |namespaces, network| sockets(namespaces, network)[0].len();
        assert_eq!(families(true, Network::Off), 4);
        assert_eq!(families(false, Network::Off), 1);
        assert_eq!(families(false, Network::On), 3);
    }
}

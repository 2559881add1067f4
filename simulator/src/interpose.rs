//! libc's clocks and entropy, answered from the simulation.
//!
//! The executable's own `clock_gettime`, `getrandom`, `getentropy` and `syscall` shadow libc's, so
//! every crate of the process, crypto included, reads virtual time and seeded bytes:
//!
//! * `clock_gettime`: `std::time`, tokio, `web-time`;
//! * `getrandom`, `getentropy`: std's `RandomState`, getrandom 0.3 and later, `rand`;
//! * `syscall(SYS_getrandom)`: getrandom 0.2, and `ring` through it.
//!
//! A thread takes part only after [`enable`]; all other threads reach the kernel as ever. All state
//! is the thread's own. Works on Linux x86-64; elsewhere [`SUPPORTED`] is false and nothing is
//! shadowed.
#![allow(
    unsafe_code,
    reason = "shadowing C functions and a raw system call cannot be written otherwise"
)]

use std::cell::Cell;

/// Whether this build can answer for libc.
pub const SUPPORTED: bool = cfg!(all(
    target_os = "linux",
    target_arch = "x86_64",
    target_env = "gnu"
));

/// Entropy domains: one per host and one for the driver.
pub const DOMAINS_MAX: usize = 256;

/// What the monotonic clock shows at virtual time zero.
const MONOTONIC_BASE_NS: u64 = 1_000_000_000_000;
/// What the wall clock shows at virtual time zero: 2026-09-21T13:33:20Z.
const WALL_BASE_NS: u64 = 1_790_000_000_000_000_000;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(false) };
    /// Asking tokio for its time may ask this clock again.
    static ASKING: Cell<bool> = const { Cell::new(false) };
    static RANDOM: [Cell<u64>; DOMAINS_MAX] = const { [const { Cell::new(0) }; DOMAINS_MAX] };
    static DOMAIN: Cell<usize> = const { Cell::new(0) };
    static WALL_OFFSET_NS: Cell<i64> = const { Cell::new(0) };
    static DRIVER_NS: Cell<u64> = const { Cell::new(0) };
    /// What a runtime's clock shows, until it may have moved: asking tokio for it costs ten times
    /// as much, and everybody asks all the time.
    static KNOWN_NS: Cell<Option<u64>> = const { Cell::new(None) };
    static ANCHOR: Cell<Option<std::time::Instant>> = const { Cell::new(None) };
}

/// splitmix64.
pub(crate) fn mix(state: u64) -> (u64, u64) {
    let next = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = next;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (next, z ^ (z >> 31))
}

/// Puts the calling thread on virtual time zero and on entropy drawn from `seed`.
pub fn enable(seed: u64) {
    RANDOM.with(|states| {
        for (domain, state) in states.iter().enumerate() {
            let (_, scrambled) = mix(seed ^ ((domain as u64) << 48));
            state.set(scrambled);
        }
    });
    DRIVER_NS.set(0);
    DOMAIN.set(0);
    WALL_OFFSET_NS.set(0);
    ENABLED.set(true);
    ANCHOR.set(Some(std::time::Instant::now()));
}

/// From here on, entropy and wall clock are those of `domain`.
pub(crate) fn enter(domain: usize, wall_offset_ns: i64) {
    DOMAIN.set(domain.min(DOMAINS_MAX - 1));
    WALL_OFFSET_NS.set(wall_offset_ns);
    KNOWN_NS.set(None);
}

/// A runtime's clock may have moved: it does when the runtime has nothing to do, and only then.
pub(crate) fn clock_moved() {
    KNOWN_NS.set(None);
}

/// Moves the time that is seen outside of any runtime.
pub(crate) fn set_driver_time(ns: u64) {
    DRIVER_NS.set(ns);
}

/// Nanoseconds since the start: inside a runtime its paused clock's, outside the driver's.
#[must_use]
pub fn virtual_ns() -> u64 {
    if let Some(known) = KNOWN_NS.get() {
        return known;
    }
    if ASKING.replace(true) {
        return DRIVER_NS.get();
    }
    let in_runtime = tokio::runtime::Handle::try_current().is_ok();
    let now = match ANCHOR.get() {
        Some(anchor) if in_runtime => {
            let since = tokio::time::Instant::now()
                .into_std()
                .saturating_duration_since(anchor);
            let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
            KNOWN_NS.set(Some(now));
            now
        }
        _ => DRIVER_NS.get(),
    };
    ASKING.set(false);
    now
}

/// Whether clocks and entropy really are ours: the linker must have taken our symbols.
#[must_use]
pub fn answers() -> bool {
    use std::time::{Instant, SystemTime, UNIX_EPOCH};
    if !SUPPORTED || !ENABLED.get() {
        return false;
    }
    let kept = DRIVER_NS.get();
    let before = Instant::now();
    DRIVER_NS.set(kept + 5_000_000_000);
    let moved = before.elapsed().as_secs() == 5;
    DRIVER_NS.set(kept);
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .is_ok_and(|t| t.as_nanos() == u128::from(WALL_BASE_NS + kept));
    let state = || RANDOM.with(|s| s[DOMAIN.get()].get());
    let first = state();
    let mut drawn = [0; 8];
    let direct = getrandom_02(&mut drawn) && state() != first;
    moved && wall && direct
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
fn getrandom_02(out: &mut [u8]) -> bool {
    // SAFETY: the buffer is ours and as long as stated.
    let n = unsafe { libc::syscall(libc::SYS_getrandom, out.as_mut_ptr(), out.len(), 0) };
    usize::try_from(n) == Ok(out.len())
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
fn getrandom_02(_: &mut [u8]) -> bool {
    false
}

/// What a right wall clock shows at a virtual time, in milliseconds since the Unix epoch.
#[must_use]
pub fn wall_ms(virtual_us: u64) -> u64 {
    WALL_BASE_NS / 1_000_000 + virtual_us / 1_000
}

/// Nanoseconds of the machine's own monotonic clock, to measure how fast a run was.
#[must_use]
pub fn machine_ns() -> u64 {
    let enabled = ENABLED.replace(false);
    let now = read_clock(libc::CLOCK_MONOTONIC);
    ENABLED.set(enabled);
    now
}

/// Nanoseconds of processor time that this process has used.
#[must_use]
pub fn cpu_ns() -> u64 {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(id: libc::clockid_t) -> u64 {
    let mut at = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `at` is valid for the write.
    unsafe { libc::clock_gettime(id, &raw mut at) };
    at.tv_sec.unsigned_abs() * 1_000_000_000 + at.tv_nsec.unsigned_abs()
}

/// Keeps memory that was freed, since it is wanted again at once: one heap that is grown in large
/// steps and never trimmed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_memory() {
    for (option, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
        (libc::M_TOP_PAD, 16 << 20),
    ] {
        // SAFETY: `mallopt` takes two numbers; one that it does not know is refused.
        unsafe { libc::mallopt(option, value) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_memory() {}

/// Ends the process when nobody reads what it prints any more (`list | head`), as other programs do.
#[cfg(unix)]
pub(crate) fn end_with_the_reader() {
    // SAFETY: the default action of a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

#[cfg(not(unix))]
pub(crate) fn end_with_the_reader() {}

/// Asks the kernel to place stack, heap and mappings at fixed addresses after the next `exec`.
/// Returns whether this process already runs so.
#[cfg(target_os = "linux")]
pub(crate) fn fix_addresses() -> bool {
    const QUERY: libc::c_ulong = 0xffff_ffff;
    // SAFETY: `personality` takes a number and changes only this process's flags.
    let now = unsafe { libc::personality(QUERY) };
    if now & libc::ADDR_NO_RANDOMIZE != 0 {
        return true;
    }
    let wanted = libc::c_ulong::from((now | libc::ADDR_NO_RANDOMIZE).unsigned_abs());
    // SAFETY: as above.
    unsafe { libc::personality(wanted) };
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn fix_addresses() -> bool {
    true
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
mod shadow {
    #![allow(unreachable_pub, reason = "callers find these by their C names")]

    use super::{DOMAIN, ENABLED, MONOTONIC_BASE_NS, RANDOM, WALL_BASE_NS, WALL_OFFSET_NS};
    use super::{mix, virtual_ns};

    /// The kernel, past libc.
    ///
    /// # Safety
    /// As the system call asks.
    unsafe fn kernel(n: i64, args: [usize; 6]) -> i64 {
        let result: i64;
        // SAFETY: the caller's; the registers are those of the Linux x86-64 calling convention.
        unsafe {
            std::arch::asm!("syscall", inlateout("rax") n => result,
                in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
                in("r10") args[3], in("r8") args[4], in("r9") args[5],
                lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        if (-4095..0).contains(&result) {
            // SAFETY: errno's address is valid for this thread.
            unsafe { *libc::__errno_location() = i32::try_from(-result).unwrap_or(libc::EIO) };
            return -1;
        }
        result
    }

    fn enabled() -> bool {
        ENABLED.try_with(std::cell::Cell::get).unwrap_or(false)
    }

    fn is_cpu_time(id: libc::clockid_t) -> bool {
        id == libc::CLOCK_PROCESS_CPUTIME_ID || id == libc::CLOCK_THREAD_CPUTIME_ID
    }

    /// # Safety
    /// As libc's: `tp` points to a timespec.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn clock_gettime(
        id: libc::clockid_t,
        tp: *mut libc::timespec,
    ) -> libc::c_int {
        if !enabled() || is_cpu_time(id) || tp.is_null() {
            let id = usize::try_from(id).unwrap_or(usize::MAX);
            // SAFETY: the arguments are the caller's.
            let result = unsafe { kernel(libc::SYS_clock_gettime, [id, tp as usize, 0, 0, 0, 0]) };
            return if result == 0 { 0 } else { -1 };
        }
        let ns = match id {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
                (WALL_BASE_NS + virtual_ns()).wrapping_add_signed(WALL_OFFSET_NS.get())
            }
            _ => MONOTONIC_BASE_NS + virtual_ns(),
        };
        // SAFETY: not null, and the caller's promise.
        unsafe {
            (*tp).tv_sec = (ns / 1_000_000_000).cast_signed();
            (*tp).tv_nsec = (ns % 1_000_000_000).cast_signed();
        }
        0
    }

    fn fill(out: &mut [u8]) {
        RANDOM.with(|states| {
            let Some(state) = states.get(DOMAIN.get()) else {
                return;
            };
            for chunk in out.chunks_mut(8) {
                let (next, drawn) = mix(state.get());
                state.set(next);
                chunk.copy_from_slice(&drawn.to_le_bytes()[..chunk.len()]);
            }
        });
    }

    /// # Safety
    /// As libc's: `buf` points to `len` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getrandom(
        buf: *mut libc::c_void,
        len: libc::size_t,
        flags: libc::c_uint,
    ) -> libc::ssize_t {
        if enabled() && !buf.is_null() {
            // SAFETY: not null, and the caller's promise.
            fill(unsafe { std::slice::from_raw_parts_mut(buf.cast::<u8>(), len) });
            return len.cast_signed();
        }
        let args = [buf as usize, len, flags as usize, 0, 0, 0];
        // SAFETY: the arguments are the caller's.
        let n = unsafe { kernel(libc::SYS_getrandom, args) };
        isize::try_from(n).unwrap_or(-1)
    }

    /// # Safety
    /// As libc's: `buf` points to `len` bytes.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn getentropy(buf: *mut libc::c_void, len: libc::size_t) -> libc::c_int {
        // SAFETY: the caller's promise is the same.
        let n = unsafe { getrandom(buf, len, 0) };
        if n == len.cast_signed() { 0 } else { -1 }
    }

    /// # Safety
    /// As libc's `syscall`. It is variadic there; passing six registers is the same call.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn syscall(
        n: libc::c_long,
        a: usize,
        b: usize,
        c: usize,
        d: usize,
        e: usize,
        f: usize,
    ) -> libc::c_long {
        if n == libc::SYS_getrandom && enabled() {
            let flags = u32::try_from(c).unwrap_or(0);
            // SAFETY: the arguments are getrandom's.
            return unsafe { getrandom(a as *mut libc::c_void, b, flags) } as libc::c_long;
        }
        // SAFETY: the arguments are the caller's.
        unsafe { kernel(n, [a, b, c, d, e, f]) }
    }
}

//! `picolm selftest`: whether every kernel that this CPU can run computes what it must, and how fast.

use alloc::format;

use picolm_core::selftest;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;

pub(crate) fn run<H: Host>(host: &H) -> Result<(), Failure> {
    let (mut passed, mut failed) = (0, 0);
    let mut written = crate::write(host, "kernels    format   result  speed\n");
    selftest::run(host.cpu(), host.clock(), |report| {
        let result = if report.passed { "pass" } else { "FAIL" };
        *(if report.passed { &mut passed } else { &mut failed }) += 1;
        let (bytes, time) = report.decode;
        let speed = Decimal(bytes as f64 / time.max(1) as f64, 2);
        let line = format!("{:<10} {:<8} {result:<7} {speed} GB/s\n", report.kernels, report.format);
        if written.is_ok() {
            written = crate::write(host, &line);
        }
    });
    written?;
    crate::write(
        host,
        &format!("{passed} passed, {failed} failed; {} kernels are used\n", host.kernels().name()),
    )?;
    if failed > 0 {
        return Err(Failure::Request(format!(
            "{failed} kernels do not compute what they must: please report the table above"
        )));
    }
    Ok(())
}

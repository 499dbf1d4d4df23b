//! The one place that turns `--device` into a backend type.

use std::{fmt, str::FromStr};

use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};

use crate::{failure::Failure, memory};

/// A device as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// A GPU through WebGPU: the default one, or the N-th discrete one.
    Wgpu(Option<usize>),
    /// The N-th NVIDIA GPU.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("found {text:?}, expected cpu, wgpu[:N] or cuda[:N]");
        let (kind, index) = match text.split_once(':') {
            None => (text, None),
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| expected())?)),
        };
        match (kind, index) {
            ("cpu", None) => Ok(Self::Cpu),
            ("wgpu", index) => Ok(Self::Wgpu(index)),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Wgpu(None) => write!(f, "wgpu"),
            Self::Wgpu(Some(n)) => write!(f, "wgpu:{n}"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Work that runs on any backend.
pub trait Job {
    /// Does the work.
    fn run<B: Backend>(self, device: &B::Device) -> Result<(), Failure>;
}

impl DeviceChoice {
    /// Batches that keep the device busy: one per thread on the processor, where many
    /// operations use a single core.
    pub fn batches_at_once(self) -> usize {
        match self {
            Self::Cpu => rayon::current_num_threads(),
            Self::Wgpu(_) | Self::Cuda(_) => 1,
        }
    }

    /// Bytes of memory that are free on the device; graphics devices do not tell.
    pub fn free_memory(self) -> Option<u64> {
        match self {
            Self::Cpu => Some(memory::available()),
            Self::Wgpu(_) | Self::Cuda(_) => None,
        }
    }

    /// Runs a job on the backend of this device.
    ///
    /// # Errors
    ///
    /// What the job says, or that this build has no such backend.
    pub fn run(self, job: impl Job) -> Result<(), Failure> {
        match self {
            Self::Cpu => {
                memory::keep_freed();
                job.run::<Flex>(&FlexDevice)
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu(index) => {
                use burn_wgpu::{Wgpu, WgpuDevice};
                let device = index.map_or(WgpuDevice::DefaultDevice, WgpuDevice::DiscreteGpu);
                self.check_present::<Wgpu>(&device)?;
                job.run::<Wgpu>(&device)
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => {
                let device = burn_cuda::CudaDevice::new(index);
                self.check_present::<burn_cuda::Cuda>(&device)?;
                job.run::<burn_cuda::Cuda>(&device)
            }
            #[cfg(not(all(feature = "wgpu", feature = "cuda")))]
            other => Err(Failure::Usage(format!(
                "this build of gf has no {other}, expected one built with `--features {}`",
                if matches!(other, Self::Wgpu(_)) { "wgpu" } else { "cuda" }
            ))),
        }
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl DeviceChoice {
    /// Makes one number on the device: drivers that are not there panic in Burn.
    fn check_present<B: Backend>(self, device: &B::Device) -> Result<(), Failure> {
        use burn::tensor::Tensor;
        let one = std::panic::AssertUnwindSafe(|| Tensor::<B, 1>::ones([1], device).into_data());
        match std::panic::catch_unwind(one) {
            Ok(_) => Ok(()),
            Err(_) => Err(Failure::Error(
                format!("device {self} cannot be used, expected a GPU with its driver").into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_as_typed() {
        fn t(text: &str, expected: Option<DeviceChoice>) {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
        t("cpu", Some(DeviceChoice::Cpu));
        t("wgpu", Some(DeviceChoice::Wgpu(None)));
        t("wgpu:1", Some(DeviceChoice::Wgpu(Some(1))));
        t("cuda", Some(DeviceChoice::Cuda(0)));
        t("cuda:3", Some(DeviceChoice::Cuda(3)));
        t("cpu:1", None);
        t("gpu", None);
        t("wgpu:x", None);
    }
}

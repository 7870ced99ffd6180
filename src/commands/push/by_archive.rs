//! A push of what the daemon saves.

use std::sync::Arc;

use super::from_docker::Pushing;
use super::known::KnownLayers;
use super::one_pass::{OnePass, Sending};
use crate::archive::Compressor;
use crate::commands::Context;
use crate::transfer::{Copied, CopyOptions, RepositoryTarget, copy_image};
use crate::ui::{Bytes, CommandError};

impl Pushing<'_> {
    /// Has the daemon save the image, and pushes what it writes.
    pub(super) async fn by_archive(&mut self, context: &Context) -> Result<Copied, CommandError> {
        let mut sending = Sending::new();
        let copied = if self.daemon.is_containerd {
            context.unless_stopped(self.doing(), self.spooled(context)).await
        } else {
            let known = std::mem::take(&mut self.known);
            context.unless_stopped(self.doing(), self.one_pass(known, &mut sending, context)).await
        };
        // What is still being sent is of no use any more, and has to be taken back before the process ends.
        sending.shutdown().await;
        self.repository.store().settle().await;
        copied
    }

    async fn one_pass(
        &self,
        known: KnownLayers,
        sending: &mut Sending,
        context: &Context,
    ) -> Result<Copied, CommandError> {
        // Docker writes all of it to its own disk before it sends the first byte, and says nothing meanwhile.
        context.printer.note(&format!("the Docker daemon saves {} ({})", self.image.name, Bytes(self.image.size)));
        let (archive, failure) = self.engine.save(self.image);
        let pass = OnePass {
            image: self.image,
            repository: self.repository,
            tag: self.tag,
            known,
            compressor: Compressor::new(self.compression.unwrap_or_default()),
            jobs: context.settings.jobs,
            reporter: &context.reporter,
        };
        let copied = pass.run(&self.image.archive_label(), archive, sending).await;
        copied.map_err(|error| CommandError::because(self.attempted.clone(), failure.or(error)))
    }

    /// containerd's store saves what it has of a registry's, in an order that has to be read twice.
    async fn spooled(&self, context: &Context) -> Result<Copied, CommandError> {
        let because = |error| CommandError::because(self.attempted.clone(), error);
        let (dir, reporter) = (&context.settings.spool_dir, context.reporter.as_ref());
        let spool = self.engine.save_to_spool(self.image, dir, reporter).await;
        let spool = spool.map_err(|error| CommandError::because(self.attempted.clone(), error))?;
        let source = spool.source(true, self.platform.cloned()).await.map_err(because)?;
        let target = RepositoryTarget::new(Arc::new(self.repository.clone()), Some(self.tag.clone()));
        let platforms = self.platform.cloned().into_iter().collect();
        let options = CopyOptions { platforms, jobs: context.settings.jobs };
        copy_image(source.as_ref(), &target, &options, &context.reporter).await.map_err(because)
    }
}

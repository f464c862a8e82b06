"""An audit trail of what is registered, started and stopped, and a ban on names: a sample of hook implementations."""

from jackfield_sample_audit.trail import AuditTrail

__all__ = ["AuditTrail"]

"""Who may run now: quotas, reserved seats, and fair shares of what there is among tenants."""

from jackfield.admission.admission import Admission
from jackfield.admission.shares import Share, shares_of
from jackfield.model.admitted import AdmissionStats, TenantStats

__all__ = ["Admission", "AdmissionStats", "Share", "TenantStats", "shares_of"]
